"""How far the gradients of a network's draws agree: what an average over draws has to work with."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GradientSums:
    """Over draws, for B images: sums of gradients, of unit gradients and of squared lengths.

    Entries that are not finite count as zero.
    """

    def __init__(self) -> None:
        zeros = torch.zeros(4, dtype=torch.float64)
        self.whole, self.unit, self.energy, self.alive = zeros.unbind()
        self.count = 0  # draws: a member of an ensemble is met in a few alone

    def add(self, gradient: Tensor) -> None:
        """gradient [B, ...] of one draw."""
        g = torch.nan_to_num(gradient.flatten(1).double(), 0.0, 0.0, 0.0)
        length = g.norm(dim=1, keepdim=True)
        self.whole = self.whole + g
        self.unit = self.unit + g / length.clamp_min(1e-300)
        self.energy = self.energy + length[:, 0].square()
        self.alive = self.alive + (length[:, 0] > 0)
        self.count += 1

    @property
    def zero(self) -> float:
        """The share of images whose gradient vanishes in every draw."""
        return 1 - float((self.energy > 0).double().mean())

    def snr(self) -> float | None:
        """Energy of the mean over draws by that of their scatter, the median over images; None of
        one draw, or without any energy."""
        if self._silent:
            return None
        k, alive = self.count, self.energy > 0
        signal = (self.whole.square().sum(1) - self.energy)[alive] / (k * (k - 1))
        noise = (self.energy[alive] / k - signal).clamp_min(1e-300)
        return float((signal / noise).median())

    def cosine(self) -> float | None:
        """Mean over pairs of draws, zero where one is blind, the median over images; None as
        above."""
        if self._silent:
            return None
        k, alive = self.count, self.energy > 0
        return float(((self.unit.square().sum(1) - self.alive)[alive] / (k * (k - 1))).median())

    @property
    def _silent(self) -> bool:
        return self.count < 2 or not bool((self.energy > 0).any())


def cosine_between_draws(model: nn.Module, x: Tensor, y: Tensor, draws: int) -> float | None:
    """The cosine of two draws' gradients of the cross-entropy by x [B, ...], labels y [B].

    Mean over the pairs of so many draws, median over images; None where no gradient is left.
    """
    sums = GradientSums()
    for _ in range(draws):
        leaf = x.detach().requires_grad_()
        loss = F.cross_entropy(model(leaf), y, reduction="sum")
        sums.add(torch.autograd.grad(loss, leaf)[0])
    return sums.cosine()

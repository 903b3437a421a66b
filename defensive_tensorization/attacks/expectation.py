"""Everything an attack asks of a randomized network, as an average over K of its draws.

What is averaged (z_k: logits of draw k, L: the objective that the attack raises):

    loss         mean_k L(z_k), whose gradient is the mean of the draws' (Athalye et al. 2018)
    gradient     the same loss; the direction is mean_k g_k / |g_k|_1, each draw's gradient at unit
                 length (as Dong et al. 2018 add up steps'): no rare draw with a huge one outvotes
                 the others
    probability  L(log mean_k softmax(z_k)): a vote by mean probability
    logit        L(mean_k z_k), as in Foolbox

The draws run in a loop, each shared by the batch, or batched: the batch repeated, each image with a
draw of its own. Batched is the automatic choice on an accelerator; on a CPU per-sample draws cost
more than they save (docs/honest.md), and some BatchNorm handlings have no per-sample draws.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import sketching
from ..errors import UsageError

Objective = Callable[[Tensor, Tensor], Tensor]
"""(logits [B, C], labels [B]) to what the attack raises, [B]."""

AVERAGES = ("gradient", "loss", "probability", "logit")
TOGETHER = 1024  # examples of one batched pass, at most (a single repeat apart)


@dataclass(frozen=True)
class Estimate:
    """loss [B]; right [B], the share of draws (or whether the vote) is correct; gradient [B, ...],
    the direction that raises the loss, None where it was not asked for."""

    loss: Tensor
    right: Tensor
    gradient: Tensor | None = None


def batches_draws(model: nn.Module, device: torch.device) -> bool:
    """The automatic choice: K draws as one batch, and not in a loop."""
    shared = any(getattr(module, "shared_draws", False) for module in model.modules())
    return device.type != "cpu" and sketching.is_live(model) and not shared


def manner(model: nn.Module, device: torch.device) -> str:
    """The automatic choice in words, for a row."""
    return "batched, a draw an example" if batches_draws(model, device) else "in a loop"


class Expectation:
    """The model's answers to points of x's shape, averaged; batched=None: the automatic choice.

    A model that gives x the same logits twice, and has no live sketch, is asked once, not K times.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        objective: Objective,
        *,
        draws: int = 1,
        average: str = "loss",
        batched: bool | None = None,
    ) -> None:
        self.model = model
        self.objective = objective
        self.average = average
        self.batched = batches_draws(model, x.device) if batched is None else batched
        self.draws = draws if draws == 1 or _is_random(model, x) else 1

    def __call__(self, x: Tensor, y: Tensor, *, gradient: bool = True) -> Estimate:
        with torch.set_grad_enabled(gradient):
            leaf = x.detach().requires_grad_(gradient)
            linear = self.average in ("gradient", "loss")
            return self._mean(leaf, y) if linear else self._vote(leaf, y)

    def _mean(self, x: Tensor, y: Tensor) -> Estimate:
        """Draw by draw: no more than one pass is held in memory."""
        loss, right = x.new_zeros(2, len(x))
        gradient = torch.zeros_like(x) if x.requires_grad else None
        for points, z in self._logits(x):
            each = self.objective(z.flatten(0, 1), y.repeat(len(z))).view(z.shape[:2]).sum(0)
            if gradient is not None:
                (of_draws,) = torch.autograd.grad(each.sum(), points)
                if self.average == "gradient":
                    of_draws = _unit(of_draws)
                gradient += of_draws.view(len(z), *x.shape).sum(0)
            loss = loss + each.detach()
            right = right + (z.argmax(2) == y).sum(0)
        k = self.draws
        return Estimate(loss / k, right / k, None if gradient is None else gradient / k)

    def _vote(self, x: Tensor, y: Tensor) -> Estimate:
        z = torch.cat([z for _, z in self._logits(x)])
        if self.average == "probability":
            z = z.log_softmax(2).logsumexp(0) - math.log(self.draws)
        else:
            z = z.mean(0)
        loss = self.objective(z, y)
        gradient = torch.autograd.grad(loss.sum(), x)[0] if x.requires_grad else None
        return Estimate(loss.detach(), (z.argmax(1) == y).float(), gradient)

    def _logits(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Points [k B, ...] and their logits [k, B, C] at a time, K in all."""
        if not self.batched or self.draws == 1:
            for _ in range(self.draws):
                yield x, self.model(x)[None]
            return
        most = max(1, TOGETHER // len(x))
        with sketching.per_sample(self.model):
            for done in range(0, self.draws, most):
                k = min(most, self.draws - done)
                points = x.repeat(k, *[1] * (x.ndim - 1))
                yield points, self.model(points).unflatten(0, (k, len(x)))


def _unit(gradient: Tensor) -> Tensor:
    """Each example's gradient at an L1 norm of 1; a zero or infinite one has no direction: zero."""
    norm = gradient.flatten(1).norm(1, 1).view(-1, *[1] * (gradient.ndim - 1))
    return torch.where(norm.isfinite() & (norm > 0), gradient / norm, 0.0)


def _is_random(model: nn.Module, x: Tensor) -> bool:
    if sketching.is_live(model):
        return True
    with torch.no_grad():
        return not torch.equal(model(x), model(x))


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """max_{i != y} z_i - z_y: positive where the prediction is wrong."""
    own = F.one_hot(y, logits.shape[1]).bool()
    highest: Tensor = logits.masked_fill(own, -math.inf).amax(1)
    return highest - logits.gather(1, y[:, None])[:, 0]


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Croce & Hein 2020: the margin in units of z_(1) - z_(3), so that no scale saturates it."""
    if logits.shape[1] < 3:
        raise UsageError(f"the DLR loss needs 3 classes, got {logits.shape[1]}: take loss=ce")
    top = logits.topk(3, 1).values
    return margin(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)

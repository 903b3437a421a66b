"""Attacks of training: every batch is replaced by adversarial examples of the network as it is.

The attack meets the network in evaluation mode, BatchNorm included, as attackers do; the update
that follows runs in training mode. Random choices come from the generator that is handed in.

In a network of random kernels, `draws` says what the attack computes gradients on

    fresh   a new draw at every step
    frozen  one draw for all steps of a batch

and `update` on what the weights are updated: `fresh`, a draw of its own, or `attack`, that one.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor, nn

from .. import sketching
from ..system.batch_shard import drawn
from ..system.transfer import onto
from .attack import step_count
from .guard import entered, guarded
from .native import Bounds, ascend, project

Draws = Literal["fresh", "frozen"]
Update = Literal["fresh", "attack"]


class Perturb(Protocol):
    """x [B, ...] in bounds and labels y [B] to x_adv, within a radius of its own choice."""

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, generator: Generator
    ) -> Tensor: ...


@dataclass(frozen=True)
class AdversarialTraining:
    """The `perturb` slot: an attack, and which draws it and the update meet."""

    perturb: Perturb
    draws: Draws = "fresh"
    update: Update = "fresh"

    def batch(
        self,
        network: nn.Module,
        deployed: nn.Module,
        bounds: Bounds,
        x: Tensor,
        y: Tensor,
        generator: Generator,
    ) -> tuple[Tensor, AbstractContextManager[None]]:
        """x_adv of the same shape, and the context in which the network is to be updated on it.

        `deployed` is what attackers meet: the network, or a module around it.
        """
        seed = int(torch.randint(2**62, (), generator=generator))
        held = sketching.frozen(network, seed=seed) if self.draws == "frozen" else nullcontext()
        with _evaluating(deployed), _without_weight_gradients(network), held:
            entry = entered(deployed, x, y, bounds)
            with guarded(entry):
                made = self.perturb(entry.model, entry.x, entry.y, bounds, generator)
        same = self.update == "attack"
        return made, sketching.frozen(network, seed=seed) if same else nullcontext()


def pgd_training(
    *,
    unit: float,
    level: float = 1,
    sigma: float = 8,
    largest: float = 16,
    step_size: float = 1,
    steps_round: str = "floor",
    random_start: bool = True,
    draws: Draws = "fresh",
    update: Update = "fresh",
) -> AdversarialTraining:
    """PGD of a random size: epsilon ~ |N(0, sigma)| below `largest`, 1..rule(epsilon) steps.

    After Kurakin et al. 2016 and Madry et al. 2017; drawn for each batch, in levels (1/255 of
    the range of images), the steps uniformly up to the count that evaluations take.
    """
    amplitude = level * unit

    def perturb(
        model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, generator: Generator
    ) -> Tensor:
        epsilon = truncated_normal(sigma, largest, generator)
        most = step_count(epsilon, None, steps_round)
        steps = int(torch.randint(1, most + 1, (), generator=generator))
        radius, start = epsilon * amplitude, x
        if random_start:
            noise = onto(drawn(torch.rand, x.shape, generator), x.device) * 2 - 1
            start = (x + radius * noise).clamp(*bounds)
        size = step_size * amplitude
        return ascend(model, start, x, y, bounds, radius=radius, step_size=size, steps=steps)

    return AdversarialTraining(perturb, draws, update)


def r_fgsm_training(
    *,
    unit: float,
    level: float = 1,
    epsilon: float = 8,
    alpha: float = 4,
    draws: Draws = "fresh",
    update: Update = "fresh",
) -> AdversarialTraining:
    """R+FGSM (Tramer et al. 2017): a random sign step of alpha, then FGSM of epsilon - alpha."""
    amplitude = level * unit

    def perturb(
        model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, generator: Generator
    ) -> Tensor:
        signs = onto(drawn(torch.randn, x.shape, generator), x.device).sign()
        start = project(x + alpha * amplitude * signs, x, epsilon * amplitude, bounds)
        size = (epsilon - alpha) * amplitude
        radius = epsilon * amplitude
        return ascend(model, start, x, y, bounds, radius=radius, step_size=size, steps=1)

    return AdversarialTraining(perturb, draws, update)


def truncated_normal(sigma: float, largest: float, generator: Generator) -> float:
    """The size of a draw of N(0, sigma) that lies within `largest`: by the inverse of its CDF."""
    half = torch.erf(torch.tensor(largest / sigma / 2**0.5, dtype=torch.float64))
    u = torch.rand((), generator=generator, dtype=torch.float64)
    return float(sigma * 2**0.5 * torch.erfinv(u * half))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Every module in evaluation mode; afterwards each in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _without_weight_gradients(model: nn.Module) -> Iterator[None]:
    """An attack asks for the input's alone: a third of its backward is saved."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    for p in wanted:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in wanted:
            p.requires_grad_(True)

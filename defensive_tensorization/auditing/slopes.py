"""How much of the margin's true slope the gradient explains: finite differences, image by image.

A defence may pass its forward and leave a part of it out of its backward (a detach, a surrogate
derivative). Such a gradient need not vanish, and points uphill, but misses what it leaves out.

For random signs d, a step h and the margin f of an image (its class against the runner-up):

    measured   m = (f(x + h d) - f(x - h d)) / 2
    predicted  p = <grad f(x), h d>
    explained  1 - sum_d (m - p)^2 / sum_d m^2

All forwards of a direction meet the same draws, so that one draw is enough; each direction has
draws of its own.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..randomness import seeded, signs
from .checks import EXPLAINED
from .target import AuditTarget, Budget

DIRECTIONS = 8
STEPS = (1 / 16, 1 / 4, 1.0, 1 / 64)
"""Of epsilon. The first suits networks in float32; large steps serve 16 bits, whose rounding hides
small ones, and small steps serve networks that curve. No step is larger than epsilon: what holds
further away says nothing of the ball."""
ROUNDING = 16 * torch.finfo(torch.float32).eps  # of the largest logit: smaller changes tell nothing


def explained(of: AuditTarget, budget: Budget, seed: int) -> NDArray[Any] | None:
    """The explained share [N] of every image at the step that explains most.

    Steps are tried until one explains EXPLAINED of every image of a batch. NaN: none does, and one
    changes the margin by no more than rounding (saturated answers). None: equal seeds do not give
    equal draws, so that prediction and measurement cannot be compared.
    """
    if not of.randomness.controlled:
        return None
    made = torch.Generator().manual_seed(seed)
    found = []
    for place, (x, y) in enumerate(of.batches()):
        directions = [signs(x, made) for _ in range(DIRECTIONS)]
        best = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
        flat = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for step in STEPS:
            share = _explained(of, x, y, directions, step * budget.epsilon * of.unit, (seed, place))
            best, flat = torch.fmax(best, share), flat | share.isnan()
            if bool((best >= EXPLAINED).all()):
                break
        best[flat & (best < EXPLAINED)] = math.nan
        found.append(best.cpu().numpy())
    return np.concatenate(found)


def _explained(
    of: AuditTarget,
    x: Tensor,
    y: Tensor,
    directions: list[Tensor],
    h: float,
    streams: tuple[int, int],
) -> Tensor:
    """[B]; NaN where the margin does not change by more than rounding."""
    seed, place = streams
    energy, missed, least = x.new_zeros(3, len(x), dtype=torch.float64)
    for number, d in enumerate(directions):
        label = f"audit slope {place} {number}"
        gradient, margin, highest = _gradient(of, x, y, seed, label)
        ends = [(x + side * h * d).clamp(*of.bounds) for side in (1, -1)]
        with torch.no_grad():
            made = []
            for end in ends:
                with seeded(of.model, seed, label):
                    made.append(margin(of.model(end)))
        measured = (made[0] - made[1]) / 2
        moved = (ends[0].double() - ends[1].double()) / 2  # less than h at the bounds
        predicted = (gradient * moved).flatten(1).sum(1)
        energy += measured.square()
        missed += (measured - predicted).square()
        least += (ROUNDING * highest).square()
    share = 1 - missed / energy
    return torch.where((energy > least) & share.isfinite(), share, math.nan)


def _gradient(
    of: AuditTarget, x: Tensor, y: Tensor, seed: int, label: str
) -> tuple[Tensor, Callable[[Tensor], Tensor], Tensor]:
    """The margin's gradient [B, ...], zero where it is not finite; the margin to the class that is
    the runner-up at x; the largest logit [B]."""
    leaf = x.detach().requires_grad_()
    with seeded(of.model, seed, label), torch.enable_grad():
        logits = of.model(leaf)
        own = y[:, None]
        other = logits.detach().scatter(1, own, -math.inf).argmax(1, keepdim=True)

        def margin(z: Tensor) -> Tensor:
            z = z.double()
            return (z.gather(1, other) - z.gather(1, own))[:, 0]

        (gradient,) = torch.autograd.grad(margin(logits).sum(), leaf)
    finite = gradient.double().nan_to_num(0.0, 0.0, 0.0)
    return finite, margin, logits.detach().double().abs().amax(1)

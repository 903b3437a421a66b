"""What the averaging attacks share: the ball, each image's best point so far, restarts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .attack import Attack
from .expectation import AVERAGES, Estimate, Expectation, Objective
from .native import Bounds


@dataclass(frozen=True)
class Ball:
    """|delta| <= radius around x [B, ...], within the bounds."""

    x: Tensor
    radius: float
    bounds: Bounds

    def project(self, z: Tensor) -> Tensor:
        near = self.x + (z - self.x).clamp(-self.radius, self.radius)
        return near.clamp(*self.bounds)

    def start(self) -> Tensor:
        """Uniform in the ball, then into the bounds."""
        return (self.x + torch.rand_like(self.x) * (2 * self.radius) - self.radius).clamp(
            *self.bounds
        )


class Best:
    """Each image's best point so far: the fewest draws right, then the highest averaged loss."""

    def __init__(self, x: Tensor) -> None:
        self.x = x.clone()
        self.loss = torch.full((len(x),), -math.inf, device=x.device)
        self.right = torch.full((len(x),), math.inf, device=x.device)

    def offer(self, x: Tensor, made: Estimate | Best) -> Best:
        tie = (made.right == self.right) & (made.loss > self.loss)
        better = (made.right < self.right) | tie
        self.x = torch.where(better.view(-1, *[1] * (x.ndim - 1)), x, self.x)
        self.loss = torch.where(better, made.loss, self.loss)
        self.right = torch.where(better, made.right, self.right)
        return self


Search = Callable[[Expectation, Ball, Tensor], Best]
"""One start of an attack: the best points that it found for labels y [B]."""

CheckpointedSearch = Callable[[Expectation, Ball, Tensor, Sequence[int]], Iterator[Best]]
"""The same, stopping after so many steps each (ascending): what a start of so many finds."""


def searching(
    name: str,
    search: Search,
    objective: Objective,
    *,
    epsilon: float,
    unit: float,
    steps: int,
    step_size: float,
    draws: int,
    average: str,
    restarts: int,
    step_checkpointed: CheckpointedSearch | None = None,
    **others: Any,
) -> Attack:
    """The attack that searches from `restarts` starts and keeps each image's best point.

    step_checkpointed  of a search whose fewer steps are the beginning of more.
    step_size in amplitude; `others` are further settings, told in the row.
    """
    for key, value in (("draws", draws), ("restarts", restarts), ("steps", steps)):
        if not (isinstance(value, int) and value >= 1):
            raise UsageError(f"attack.{name}.{key} must be at least 1, got {value}")
    if average not in AVERAGES:
        raise UsageError(
            f"attack.{name}.average must be one of {', '.join(AVERAGES)}, got {average!r}"
        )

    def perturb(model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, radius: float) -> Tensor:
        ball = Ball(x, radius, bounds)
        asked = Expectation(model, x, objective, draws=draws, average=average)
        best = search(asked, ball, y)
        for _ in range(restarts - 1):
            found = search(asked, ball, y)
            best.offer(found.x, found)
        return best.x.detach()

    def perturb_with_step_checkpoints(
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        bounds: Bounds,
        radius: float,
        step_checkpoints: Sequence[int],
    ) -> Iterator[Tensor]:
        asked = Expectation(model, x, objective, draws=draws, average=average)
        assert step_checkpointed is not None
        for best in step_checkpointed(asked, Ball(x, radius, bounds), y, step_checkpoints):
            yield best.x.detach()

    told = {"average": average, "draws": draws, "restarts": restarts, **others}
    return Attack(
        *(name, epsilon, unit, steps, step_size, True, perturb),
        options=tuple(told.items()),
        step_checkpointed=perturb_with_step_checkpoints
        if step_checkpointed and restarts == 1
        else None,
    )

"""An l-infinity attack at one size, and the paper's rule for its steps."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import UsageError
from .guard import Entry, entered, guarded
from .native import Bounds
from .numbers import whole

_ROUND: dict[str, Callable[[float], float]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "nearest": round,
}

OUTCOMES = ("nothing", "unperturbed", "found", "beyond")
"""Of an attack that stops: no miss; the image itself is missed; an example; one beyond epsilon."""


@dataclass(frozen=True)
class Ended:
    """Where an attack that stops left each image of a batch.

    x        the example [B, ...]; the image itself where there is none.
    outcome  [B], its place in OUTCOMES.
    robust   [B], whether it counts as correct, whatever the network answers.
    """

    x: Tensor
    outcome: Tensor
    robust: Tensor

    @property
    def names(self) -> NDArray[np.str_]:
        """The outcomes [B] by name."""
        return np.array([OUTCOMES[place] for place in self.outcome.tolist()])

    def counted(self, logits: Tensor, y: Tensor) -> Tensor:
        """logits [n, B, C], those of robust images replaced by ones sure of the labels y [B]."""
        sure = F.one_hot(y, logits.shape[2]) * torch.finfo(logits.dtype).max
        return torch.where(self.robust[:, None], sure, logits)


@dataclass(frozen=True)
class Attack:
    """Perturbs within |delta| <= epsilon * unit, from images in `bounds` to images in `bounds`.

    epsilon in the data's unit (8 means 8/255 on images), step_size in amplitude.
    surrogate  the derivative that binary layers give sgn while the attack computes gradients.
    knowledge  what it knows of the network, one of THREAT_MODELS.
    options    whatever else decides its result, by name: `draws` is K, how many it averages over.
    input      computed `through` a defence that transforms the input, or `oblivious` of it.
    step_checkpointed  the same attack with several step counts to stop at; None where fewer
               steps are not the beginning of more.
    ended      of an attack that stops: perturb's arguments to what became of each image.
    """

    name: str
    epsilon: float
    unit: float
    steps: int
    step_size: float
    random_start: bool
    perturb: Callable[[nn.Module, Tensor, Tensor, Bounds, float], Tensor] = field(compare=False)
    surrogate: str = "identity"
    knowledge: str = "fresh"
    options: tuple[tuple[str, Any], ...] = ()
    input: str = "through"
    step_checkpointed: Callable[..., Iterator[Tensor]] | None = field(default=None, compare=False)
    ended: Callable[..., Ended] | None = field(default=None, compare=False)

    @property
    def radius(self) -> float:
        """epsilon as an amplitude."""
        return self.epsilon * self.unit

    @property
    def draws(self) -> int:
        """K, of the network, at every step."""
        return int(dict(self.options).get("draws", 1))

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        bounds: Bounds = (0.0, 1.0),
    ) -> Tensor:
        """x [B, ...] in bounds and labels y [B] to x_adv of the same shape.

        The model is bit for bit the same afterwards: see `guard` for what is handled and refused.
        """
        return self.end(model, x, y, bounds)[0]

    def end(
        self, model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds
    ) -> tuple[Tensor, Ended | None]:
        """A call's x_adv, and of an attack that stops what became of each image."""
        entry = self._entered(model, x, y, bounds)
        if not entry.x.numel():
            return entry.x.clone(), None
        given = (entry.model, entry.x, entry.y, bounds, self.radius)
        with guarded(entry):
            if self.ended is None:
                return within(self.perturb(*given).detach(), entry.x, self.radius), None
            ended = self.ended(*given)
            ended = replace(ended, x=within(ended.x, entry.x, self.radius))
        return ended.x, ended

    def continues(self, other: "Attack") -> bool:
        """Whether this one is the other and then more steps."""
        more = self.step_checkpointed is not None and self.steps > other.steps
        return more and replace(self, steps=other.steps) == other

    def run_with_step_checkpoints(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        bounds: Bounds,
        step_checkpoints: Sequence[int],
    ) -> Iterator[Tensor]:
        """x_adv after so many steps each (ascending), as the attack of so many would leave it.

        While one is at hand the model's draws stand where that attack leaves them.
        """
        assert self.step_checkpointed is not None
        entry = self._entered(model, x, y, bounds)
        if not entry.x.numel():
            yield from (entry.x.clone() for _ in step_checkpoints)
            return
        ends = self.step_checkpointed(
            entry.model, entry.x, entry.y, bounds, self.radius, step_checkpoints
        )
        for _ in step_checkpoints:
            with guarded(entry):  # step by step: the caller's code between them is its own
                end = within(next(ends).detach(), entry.x, self.radius)
            yield end

    def _entered(self, model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds) -> Entry:
        return entered(model, x, y, bounds, epsilon=self.epsilon, unit=self.unit)


def within(made: Tensor, x: Tensor, radius: float) -> Tensor:
    """made [B, ...] with every entry that 16 bits have rounded out of the ball around x put back.

    The next number toward x: a step of theirs near 1 is 1/256 or 1/2048.
    """
    if made.dtype not in (torch.float16, torch.bfloat16):
        return made
    beyond = (made.double() - x.double()).abs() > radius
    while beyond.any():
        made = torch.where(beyond, torch.nextafter(made, x), made)
        beyond = (made.double() - x.double()).abs() > radius
    return made


def step_count(
    epsilon: float, steps: int | None = None, steps_round: str = "floor", level: float = 1
) -> int:
    """Kurakin et al. 2016: min(epsilon + 4, 1.25 epsilon) in levels, at least 1; or as given."""
    if steps is not None:
        return whole("attack steps", steps)
    if steps_round not in _ROUND:
        raise UsageError(f"steps_round must be one of {', '.join(_ROUND)}, got {steps_round!r}")
    levels = epsilon / level
    return max(1, int(_ROUND[steps_round](min(levels + 4, 1.25 * levels))))

"""An l-infinity attack at one size, and the paper's rule for its steps."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from ..errors import UsageError
from .guard import Entry, entered, guarded

_ROUND: dict[str, Callable[[float], float]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "nearest": round,
}


@dataclass(frozen=True)
class Attack:
    """Perturbs within |delta| <= epsilon * unit, from images in `bounds` to images in `bounds`.

    epsilon in the data's unit (8 means 8/255 on images), step_size in amplitude.
    surrogate  the derivative that binary layers give sgn while the attack computes gradients.
    knowledge  what it knows of the network, one of KNOWLEDGE.
    options    whatever else decides its result, by name: `draws` is K, how many it averages over.
    input      computed `through` a defence that transforms the input, or `oblivious` of it.
    walk       the same with the step counts to stop at: fewer steps are the beginning of more.
    """

    name: str
    epsilon: float
    unit: float
    steps: int
    step_size: float
    random_start: bool
    perturb: Callable[[nn.Module, Tensor, Tensor, tuple[float, float], float], Tensor] = field(
        compare=False
    )
    surrogate: str = "identity"
    knowledge: str = "fresh"
    options: tuple[tuple[str, Any], ...] = ()
    input: str = "through"
    walk: Callable[..., Iterator[Tensor]] | None = field(default=None, compare=False)

    @property
    def radius(self) -> float:
        """epsilon as an amplitude."""
        return self.epsilon * self.unit

    @property
    def draws(self) -> int:
        """K, of the network, at every step."""
        return int(dict(self.options).get("draws", 1))

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, bounds: tuple[float, float]
    ) -> Tensor:
        """x [B, ...] in bounds and labels y [B] to x_adv of the same shape.

        The model is bit for bit the same afterwards: see `guard` for what is handled and refused.
        """
        entry = self._entered(model, x, y, bounds)
        if not entry.x.numel():
            return entry.x.clone()
        with guarded(entry):
            return self.perturb(entry.model, entry.x, entry.y, bounds, self.radius).detach()

    def continues(self, other: "Attack") -> bool:
        """Whether this one is the other and then more steps."""
        more = self.walk is not None and self.steps > other.steps
        return more and replace(self, steps=other.steps) == other

    def along(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        bounds: tuple[float, float],
        stops: Sequence[int],
    ) -> Iterator[Tensor]:
        """x_adv after so many steps each (ascending), as the attack of so many would leave it.

        While one is at hand the model's draws stand where that attack leaves them.
        """
        assert self.walk is not None
        entry = self._entered(model, x, y, bounds)
        if not entry.x.numel():
            yield from (entry.x.clone() for _ in stops)
            return
        ends = self.walk(entry.model, entry.x, entry.y, bounds, self.radius, stops)
        for _ in stops:  # guarded step by step: the caller's code between them is its own
            with guarded(entry):
                end = next(ends).detach()
            yield end

    def _entered(
        self, model: nn.Module, x: Tensor, y: Tensor, bounds: tuple[float, float]
    ) -> Entry:
        return entered(model, x, y, bounds, epsilon=self.epsilon, unit=self.unit)


def step_count(
    epsilon: float, steps: int | None = None, steps_round: str = "floor", level: float = 1
) -> int:
    """Kurakin et al. 2016: min(epsilon + 4, 1.25 epsilon) in levels, at least 1; or as given."""
    if steps is not None:
        if steps < 1:
            raise UsageError(f"attack steps must be at least 1, got {steps}")
        return steps
    if steps_round not in _ROUND:
        raise UsageError(f"steps_round must be one of {', '.join(_ROUND)}, got {steps_round!r}")
    levels = epsilon / level
    return max(1, int(_ROUND[steps_round](min(levels + 4, 1.25 * levels))))


def positive(name: str, value: Any) -> float:
    if not (isinstance(value, int | float) and value > 0):
        raise UsageError(f"{name} must be a positive number in the data's unit, got {value!r}")
    return float(value)

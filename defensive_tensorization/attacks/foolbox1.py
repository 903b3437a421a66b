"""FGSM, BIM and PGD as Foolbox 1.8 (2018) ran them, with what its users could choose as readings.

That Foolbox stops at the first forward that misses and keeps that example. On a randomized network
such a miss can be luck of one draw, which a fresh draw undoes. docs/protocol.md has the readings.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from .. import sketching
from ..errors import UsageError
from .attack import OUTCOMES, Attack, Ended, step_count
from .first_miss import SEARCHES, Iterated, Misses, binary_search, sign_sizes
from .native import Bounds
from .numbers import positive

BINARY_SEARCH = ("off", "on", "within")
NOT_FOUND = ("clean", "correct")
DRAW_PER = ("batch", "image")
SIZES = ("listed", "single")
SLACK = 1e-6  # amplitude by which a rounded example may leave its ball


def foolbox1_fgsm(
    *,
    epsilon: float,
    unit: float,
    sizes: int | str = 1000,
    not_found: str = "clean",
    draw_per: str = "batch",
) -> Attack:
    """Eq. 1 in growing sizes, until a forward misses (`GradientSignAttack`).

    Args:
        epsilon: the largest size, in the data's unit; `unit` is its amplitude.
        sizes: how many equal ones up to epsilon (Foolbox's `epsilons=1000`). `listed`: epsilon
            alone, and where that does not miss 20 up to it (Foolbox's `epsilons=[epsilon]`).
            `single`: epsilon alone, which no Foolbox before 3.0 did.
        not_found: `clean`: the unperturbed image is scored; `correct`: it counts as correct.
        draw_per: `batch`: a forward's draw is shared by the batch; `image`: each has its own.

    Raises:
        UsageError: an unknown reading.
    """
    key = "attack.foolbox1_fgsm"
    if not (sizes in SIZES or (type(sizes) is int and sizes >= 1)):
        raise UsageError(
            f"{key}.sizes must be a whole number, at least 1, {' or '.join(SIZES)}, got {sizes!r}"
        )

    def search(misses: Misses, radius: float) -> None:
        count = sizes if isinstance(sizes, int) else 1
        parts = torch.arange(1, count + 1, dtype=torch.float64, device=misses.x.device) / count
        again = {"listed": 0, "single": None}.get(str(sizes), SEARCHES)
        sign_sizes(misses, (radius * parts).to(misses.x.dtype), again)

    readings = {"sizes": sizes, **_common(key, not_found, draw_per)}
    bare = ("foolbox1_fgsm", epsilon, unit, 1, epsilon * unit, False)
    return _attack(bare, search, readings)


def foolbox1_bim(
    *,
    epsilon: float,
    unit: float,
    step_size: float = 1,
    steps: int | None = None,
    steps_round: str = "floor",
    level: float = 1,
    binary_search: str | bool = "off",
    not_found: str = "clean",
    draw_per: str = "batch",
) -> Attack:
    """Eq. 2 from the image, until a prediction after a step misses (`..BasicIterativeAttack`).

    Args:
        epsilon: radius, in the data's unit; `unit` is its amplitude. Steps as in `bim`.
        binary_search: `on`: the smallest radius that misses is searched, above epsilon too;
            `within`: the same, and an example beyond epsilon counts as correct; `off`: neither.
        not_found, draw_per: as in `foolbox1_fgsm`.

    Raises:
        UsageError: an unknown reading, or steps that cannot be.
    """
    count = step_count(epsilon, steps, steps_round, positive("attack.foolbox1_bim.level", level))
    readings = binary_search, not_found, draw_per
    return _iterated("foolbox1_bim", epsilon, unit, step_size, count, None, *readings)


def foolbox1_pgd(
    *,
    epsilon: float,
    unit: float,
    step_size: float = 1,
    steps: int | None = None,
    steps_round: str = "floor",
    level: float = 1,
    binary_search: str | bool = "off",
    not_found: str = "clean",
    draw_per: str = "batch",
) -> Attack:
    """`foolbox1_bim` from a uniform point of the ball (`RandomStart..GradientDescentAttack`)."""
    count = step_count(epsilon, steps, steps_round, positive("attack.foolbox1_pgd.level", level))
    readings = binary_search, not_found, draw_per
    return _iterated("foolbox1_pgd", epsilon, unit, step_size, count, uniform, *readings)


def uniform(x: Tensor) -> Tensor:
    """Numbers in [-1, 1), as many as x has, from torch's global generator."""
    return torch.rand_like(x) * 2 - 1


def _iterated(
    name: str,
    epsilon: float,
    unit: float,
    step_size: float,
    steps: int,
    noise: Callable[[Tensor], Tensor] | None,
    searched: str | bool,
    not_found: str,
    draw_per: str,
) -> Attack:
    key = f"attack.{name}"
    step = positive(f"{key}.step_size", step_size) * unit
    if isinstance(searched, bool):  # as YAML 1.1 reads off and on
        searched = "on" if searched else "off"
    readings = {
        "binary_search": _one_of(f"{key}.binary_search", searched, BINARY_SEARCH),
        **_common(key, not_found, draw_per),
    }

    def search(misses: Misses, radius: float) -> None:
        run = Iterated(steps, noise)
        if searched != "off":
            binary_search(misses, run, radius, step)
            return
        who = misses.correct
        run(misses, who, *(misses.x.new_full((len(who),), size) for size in (radius, step)))

    bare = (name, epsilon, unit, steps, step, noise is not None)
    return _attack(bare, search, readings)


def _attack(
    bare: tuple[str, float, float, int, float, bool],
    search: Callable[[Misses, float], None],
    readings: dict[str, Any],
) -> Attack:
    """The attack of Attack's first fields that searches misses within a radius by `search`."""

    def ended(model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, radius: float) -> Ended:
        each = readings["draw_per"] == "image"
        with sketching.per_sample(model) if each else nullcontext():
            misses = Misses(model, x, y, bounds)
            if radius > 0:  # Foolbox refuses 0
                search(misses, radius)
        return _outcomes(misses, radius, readings)

    def perturb(model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, radius: float) -> Tensor:
        return ended(model, x, y, bounds, radius).x

    return Attack(*bare, perturb, ended=ended, options=tuple(readings.items()))


def _outcomes(misses: Misses, radius: float, readings: dict[str, Any]) -> Ended:
    """What became of each image, and which count as correct unscored."""
    distance = misses.distance
    nothing, unperturbed = distance.isinf(), distance == 0
    beyond = (misses.best - misses.x).flatten(1).abs().amax(1) > radius + SLACK
    outcome = torch.full_like(distance, OUTCOMES.index("found"), dtype=torch.long)
    for name, mask in (("beyond", beyond), ("unperturbed", unperturbed), ("nothing", nothing)):
        outcome[mask] = OUTCOMES.index(name)
    robust = torch.zeros_like(nothing)
    if readings["not_found"] == "correct":
        robust |= nothing
    if readings.get("binary_search") == "within":
        robust |= beyond
    return Ended(misses.best, outcome, robust)


def _common(key: str, not_found: str, draw_per: str) -> dict[str, str]:
    return {
        "not_found": _one_of(f"{key}.not_found", not_found, NOT_FOUND),
        "draw_per": _one_of(f"{key}.draw_per", draw_per, DRAW_PER),
    }


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise UsageError(f"{key} must be one of {', '.join(allowed)}, got {value!r}")
    return value

"""Attacks for anybody's model, in amplitudes: `epsilon=8/255` on images in [0, 1].

    attack = eot_pgd(epsilon=8/255, steps=50, samples=10)
    x_adv = attack(model, x, y)                    # bounds=(0, 1), unless others are given

A call with `unit` counts in that unit, as configurations do: `eot_pgd(epsilon=8, unit=1/255)` is
the factory of that name in `in_units`, with its arguments.

Each is an `Attack`, with the same checks of its model and its inputs (`guard`). They need torch
alone, but for `autoattack`. `samples`: how many draws of a random model each step averages over; a
model whose answers do not vary is asked once.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec

from torch import Tensor, nn

from ..errors import UsageError
from . import auto_pgd, eot, square_windows
from . import autoattack as outside
from .attack import Attack
from .native import Bounds, ascend
from .numbers import positive, real, whole
from .search import Ball

__all__ = ["apgd", "autoattack", "bim", "eot_pgd", "fgsm", "pgd", "square"]

EXAMPLE = {"epsilon": "8/255", "unit": "1/255"}
COUNTS = ("steps", "samples", "draws", "queries", "restarts")
REACH = 2.5  # of epsilon, how far all steps together can go (Madry et al. 2018)
P = ParamSpec("P")


def counted(factory: Callable[P, Attack]) -> Callable[P, Attack]:
    """The factory, or with `unit` given its namesake in `in_units`; numbers may be of any type."""

    @wraps(factory)
    def make(*args: P.args, **settings: P.kwargs) -> Attack:
        from . import in_units

        chosen: Any = getattr(in_units, factory.__name__) if "unit" in settings else factory
        made: Attack = chosen(*args, **_plain(settings))
        return made

    return make


@counted
def fgsm(*, epsilon: float) -> Attack:
    """Make one step of the size of epsilon along the gradient's sign (Goodfellow et al. 2015)."""
    return climb("fgsm", epsilon, 1, epsilon, random_start=False)


@counted
def bim(*, epsilon: float, steps: int = 10, step_size: float | None = None) -> Attack:
    """Iterate from the image itself (Kurakin et al. 2017); step_size None: 2.5 epsilon / steps."""
    return climb("bim", epsilon, steps, _step(epsilon, steps, step_size), random_start=False)


@counted
def pgd(*, epsilon: float, steps: int = 40, step_size: float | None = None) -> Attack:
    """Iterate from a random point of the ball (Madry et al. 2018), one draw a step."""
    return climb("pgd", epsilon, steps, _step(epsilon, steps, step_size), random_start=True)


@counted
def eot_pgd(
    *,
    epsilon: float,
    steps: int = 50,
    samples: int = 20,
    step_size: float | None = None,
    restarts: int = 1,
    average: str = "gradient",
    keep: str = "best",
) -> Attack:
    """Iterate along averages over draws (Athalye et al. 2018).

    Args:
        epsilon: amplitude of the largest change of a value.
        steps: of every start.
        samples: draws that every step averages over.
        step_size: amplitude; None: 2.5 epsilon / steps.
        restarts: starts, of which each image's best point is kept.
        average: of what, one of `expectation.AVERAGES`.
        keep: the best point on the way, by the average over draws, or the last.
    """
    size = _step(epsilon, steps, step_size)
    if not size > 0:
        return _nothing("eot_pgd", epsilon, steps)
    return eot.eot_pgd(
        epsilon=epsilon,
        unit=1.0,
        step_size=size,
        steps=steps,
        draws=whole("samples", samples),
        average=average,
        restarts=restarts,
        keep=keep,
    )


@counted
def apgd(
    *,
    epsilon: float,
    loss: str = "ce",
    steps: int = 100,
    samples: int = 20,
    restarts: int = 1,
    average: str = "gradient",
) -> Attack:
    """Auto-PGD on averages over draws (Croce & Hein 2020); loss: ce or dlr."""
    whole("steps", steps)
    return auto_pgd.apgd(
        epsilon=epsilon,
        unit=1.0,
        loss=loss,
        steps=steps,
        draws=whole("samples", samples),
        average=average,
        restarts=restarts,
    )


@counted
def square(
    *,
    epsilon: float,
    queries: int = 1000,
    samples: int = 20,
    restarts: int = 1,
    p: float = 0.8,
) -> Attack:
    """Square without gradients, on averages over draws (Andriushchenko et al. 2020).

    queries: windows that are tried; p: the first's share of the image.
    """
    whole("queries", queries)
    draws = whole("samples", samples)
    return square_windows.square(
        epsilon=epsilon, unit=1.0, steps=queries, p=p, draws=draws, restarts=restarts
    )


@counted
def autoattack(*, epsilon: float, version: str = outside.AUTO) -> Attack:
    """AutoAttack as others run it; needs the extra `attacks`. version: rand, standard or auto."""
    return outside.autoattack(epsilon=epsilon, unit=1.0, version=version)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with Python's own numbers. Raises UsageError for what is no number."""
    found = dict(settings)
    for key in found.keys() & {*COUNTS}:
        if found[key] is not None:
            found[key] = whole(key, found[key])
    for key in found.keys() & {"epsilon", "unit"}:
        if (number := real(found[key])) is None:
            raise UsageError(f"{key} must be a number, got {found[key]!r}: such as {EXAMPLE[key]}")
        found[key] = number
    return found


def _step(epsilon: float, steps: int, step_size: float | None) -> float:
    whole("steps", steps)
    if step_size is None:
        return REACH * epsilon / steps
    return positive("step_size", step_size)


def climb(
    name: str,
    epsilon: float,
    steps: int,
    step_size: float,
    *,
    random_start: bool,
    unit: float = 1.0,
) -> Attack:
    """The plain iteration; epsilon in `unit`, step_size an amplitude."""
    whole("steps", steps)

    def perturb(model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, radius: float) -> Tensor:
        start = x
        if random_start:
            start = Ball(x, radius, bounds).start()
        return ascend(model, start, x, y, bounds, radius=radius, step_size=step_size, steps=steps)

    return Attack(name, epsilon, unit, steps, step_size, random_start, perturb)


def _nothing(name: str, epsilon: float, steps: int) -> Attack:
    """An attack of size 0; a negative size is refused when it is called, as by the others."""
    if epsilon != epsilon:
        raise UsageError(f"epsilon must be a number >= 0, got {epsilon}: such as 8/255")
    return climb(name, epsilon, steps, 0.0, random_start=False)

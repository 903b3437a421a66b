"""The rules of a landscape's keys."""

from math import isfinite

from ..errors import UsageError, did_you_mean
from .files import CONFIGS, shown
from .refuse import options
from .schema import LandscapeConfig

OWN = "own"


def check_landscape(landscape: LandscapeConfig) -> None:
    if landscape.image < 0:
        raise UsageError(f"landscape.image must be at least 0, got {landscape.image}")
    if landscape.draws < 2:
        raise UsageError(
            f"landscape.draws must be at least 2, got {landscape.draws}: it is the average's, one "
            "draw has a version of its own"
        )
    if landscape.points < 3 or landscape.points % 2 == 0:
        raise UsageError(
            f"landscape.points must be odd and at least 3, got {landscape.points}: the image is "
            "the middle one"
        )
    if not (isfinite(landscape.extent) and landscape.extent > 0):
        raise UsageError(f"landscape.extent must be a positive number, got {landscape.extent}")
    if landscape.direction not in ("gradient", "sign"):
        raise UsageError(
            f"landscape.direction must be one of gradient, sign, got {landscape.direction!r}"
        )
    if landscape.directions != OWN and not _is_method(landscape.directions):
        raise UsageError(
            f"landscape.directions must be own or a method, got {landscape.directions!r}: "
            + did_you_mean(
                landscape.directions, options("method").split(", "), f"all: {shown('method')}/"
            )
        )


def _is_method(name: str) -> bool:
    return (CONFIGS / "method" / f"{name}.yaml").is_file()

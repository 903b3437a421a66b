"""Numbers that a person gives, of whatever type."""

import operator
from typing import Any

from ..errors import UsageError


def positive(name: str, value: Any) -> float:
    found = real(value)
    if found is None or not found > 0:
        raise UsageError(f"{name} must be a positive number in the data's unit, got {value!r}")
    return float(found)


def real(value: Any) -> float | None:
    """A number of any type, numpy's and a tensor of one element too; None for what is none."""
    if type(value) in (int, float):
        return value  # type: ignore[no-any-return]
    if isinstance(value, bool | str | bytes):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def whole(name: str, value: Any) -> int:
    """A count of at least 1, of any integer type."""
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None or found < 1:
        raise UsageError(f"{name} must be a whole number, at least 1, got {value!r}")
    return found

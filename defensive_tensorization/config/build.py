"""Calling what a `_target_` names."""

from collections.abc import Callable
from inspect import signature
from pkgutil import resolve_name
from typing import Any

from ..errors import UsageError


def named(target: str) -> Any:
    """What the dotted path names; UsageError where there is nothing."""
    try:
        return resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"_target_={target} cannot be called: {error}") from None


def construct(target: str, *, through: Callable[[Any], Any] | None = None, **options: Any) -> Any:
    """Call what the dotted path names; UsageError where it is not there or takes other options.

    through: what makes of it the thing that is called.
    """
    call = named(target)
    if through is not None:
        call = through(call)
    try:
        takes = signature(call)
        takes.bind(**options)
    except ValueError as error:
        raise UsageError(f"_target_={target} cannot be called: {error}") from None
    except TypeError as error:
        strange = ", ".join(key for key in options if key not in takes.parameters)
        raise UsageError(
            f"{target}: {f'it takes no {strange}' if strange else error}; "
            f"it takes {', '.join(takes.parameters)}"
        ) from None
    return call(**options)


def build(node: Any, **extra: Any) -> Any:
    """Call what the node's `_target_` names with its other values; None means: not given."""
    options = {k: v for k, v in vars(node).items() if v is not None and k != "_target_"}
    return construct(node._target_, **options, **extra)

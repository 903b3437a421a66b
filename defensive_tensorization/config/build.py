"""Calling what a `_target_` names."""

import re
from inspect import signature
from pkgutil import resolve_name
from typing import Any

from ..errors import UsageError
from .identity import OURS
from .outside import arguments

_MOVED = re.compile(rf"({OURS}\.attacks)\.(?:autoattack\.)?(\w+)")
"""Where attacks in the data's unit were, as checkpoints and people's own files name them."""


def named(target: str) -> Any:
    """What the dotted path names; UsageError where there is nothing."""
    if moved := _MOVED.fullmatch(target):
        target = f"{moved[1]}.in_units.{moved[2]}"
    try:
        return resolve_name(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"_target_={target} cannot be called: {error}") from None


def construct(target: str, **options: Any) -> Any:
    """Call what the dotted path names; UsageError where it is not there or takes other options."""
    call = named(target)
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
    return construct(node._target_, **arguments(node), **extra)

"""Calling what a `_target_` names."""

import os
import re
import sys
from collections.abc import Callable
from inspect import signature
from pkgutil import resolve_name
from typing import Any

from ..errors import UsageError
from ..system.source import persons_module
from .outside import arguments

OURS = __package__.partition(".")[0]
_MOVED = re.compile(rf"({OURS}\.attacks)\.(?:autoattack\.)?(\w+)")
"""Where attacks in the data's unit were, as checkpoints and people's own files name them."""


def named(target: str) -> Any:
    """What the dotted path names; UsageError where there is nothing."""
    if moved := _MOVED.fullmatch(target):
        target = f"{moved[1]}.in_units.{moved[2]}"
    if not target.startswith(f"{OURS}.") and (here := os.getcwd()) not in sys.path:
        sys.path.append(here)  # as `python -m` has it: scripts and the command see the same modules
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
    return construct(node._target_, **arguments(node), **extra)


def persons_source(target: str | None) -> str | None:
    """A digest of the person's own file that a `_target_` names; None for ours and a library's."""
    if not target or target.startswith(f"{OURS}."):
        return None
    return persons_module(named(target))

"""Calling what a `_target_` names."""

import os
import re
import sys
from collections.abc import Callable, Mapping
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
        own = not target.startswith(f"{OURS}.") and isinstance(error, ImportError)
        remedy = (
            "; name the folder of your own code: hydra.searchpath=[file://FOLDER]" if own else ""
        )
        raise UsageError(f"_target_={target} cannot be called: {error}{remedy}") from None


def construct(target: str, *, through: Callable[[Any], Any] | None = None, **options: Any) -> Any:
    """Call what the dotted path names; UsageError where it is not there or takes other options.

    through: what makes of it the thing that is called.
    """
    return _called(target, options, {}, through)


def build(
    node: Any, *, at: str = "", through: Callable[[Any], Any] | None = None, **extra: Any
) -> Any:
    """Call what the node's `_target_` names with its other values; None means: not given.

    at: the key of the node, such as "dataset", which an error names.
    """
    given, own = arguments(node), getattr(node, "options", {})
    keys = {name: f"{at}.options.{name}" if name in own else f"{at}.{name}" for name in given}
    return _called(node._target_, {**given, **extra}, keys if at else {}, through)


def _called(
    target: str,
    options: Mapping[str, Any],
    keys: Mapping[str, str],
    through: Callable[[Any], Any] | None,
) -> Any:
    """keys: of options that the configuration sets, where it does."""
    call = named(target)
    if through is not None:
        call = through(call)
    try:
        takes = signature(call)
        takes.bind(**options)
    except ValueError as error:
        raise UsageError(f"_target_={target} cannot be called: {error}") from None
    except TypeError as error:
        strange = [key for key in options if key not in takes.parameters]
        if strange and strange[0] in keys:
            key = strange[0]
            said = f"{keys[key]}={options[key]}: {target} takes no {key}, leave it out"
        else:
            names = ", ".join(strange)
            said = f"{target}: {f'it takes no {names}' if strange else error}"
        raise UsageError(f"{said}; it takes {', '.join(takes.parameters)}") from None
    return call(**options)


def persons_source(target: str | None) -> str | None:
    """A digest of the person's own file that a `_target_` names; None for ours and a library's."""
    if not target or target.startswith(f"{OURS}."):
        return None
    return persons_module(named(target))

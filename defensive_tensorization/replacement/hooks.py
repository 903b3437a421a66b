"""Hooks on a layer: which of them go on working on another layer in its place."""

import functools
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import nn

MOVED = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)
OF_STATE = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
ON_WEIGHTS = {"weight", "_parameters", "parameters", "named_parameters", "setattr", "state_dict"}


def lost(layer: nn.Module, *, same_weights: bool) -> str | None:
    """Which hook would not do the same on the new layer; None: they all would.

    Args:
        same_weights: Whether the new layer has the parameters of the old one.
    """
    if layer._backward_hooks and layer._is_full_backward_hook is False:
        return (
            "has a backward hook of the old form, whose gradients depend on how the layer computes:"
            " use register_full_backward_hook"
        )
    if same_weights:
        return None
    for kind in OF_STATE:
        if getattr(layer, kind):
            return (
                "has a state dict hook, and its state gets other keys: register the hook after "
                "the call"
            )
    for kind in MOVED:
        hooks = getattr(layer, kind)
        for hook in hooks.values() if isinstance(hooks, dict) else ():
            if callable(hook) and any(_names(hook) & ON_WEIGHTS for hook in functions(hook)):
                return (
                    "has a hook that reads or writes its weight, which becomes a core and "
                    "factors: remove the hook first"
                )
    return None


def functions(hook: Any, seen: set[int] | None = None) -> Iterator[FunctionType]:
    """The Python functions that a hook runs, those it closes over included."""
    seen = set() if seen is None else seen
    if id(hook) in seen:
        return
    seen.add(id(hook))
    if isinstance(hook, FunctionType):
        yield hook
        inner = [cell_content(cell) for cell in hook.__closure__ or ()]
        inner.append(getattr(hook, "__wrapped__", None))
    elif isinstance(hook, MethodType):
        inner = [hook.__func__]
    elif isinstance(hook, functools.partial):
        inner = [hook.func, *hook.args, *hook.keywords.values()]
    else:
        inner = [vars(kind).get("__call__") for kind in type(hook).__mro__]
    for each in inner:
        if isinstance(each, FunctionType | MethodType | functools.partial):
            yield from functions(each, seen)


def cell_content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # still empty
        return None


def _names(function: FunctionType) -> set[str]:
    def of(code: CodeType) -> set[str]:
        found = set(code.co_names) | {c for c in code.co_consts if isinstance(c, str)}
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                found |= of(constant)
        return found

    return of(function.__code__)

"""Layers that compute something of their own: no plain layer equals them, so they stay."""

import dis
import re
from collections.abc import Iterator
from itertools import pairwise
from types import CodeType, FunctionType, MethodType
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from .hooks import functions
from .in_code import METHODS, codes

HARMLESS = frozenset(
    "__init__ __module__ __doc__ __qualname__ __annotations__ __constants__ __slots__ __dict__ "
    "__weakref__ __repr__ __parameters__ __orig_bases__ __abstractmethods__ _abc_impl "
    "__static_attributes__ __firstlineno__ extra_repr reset_parameters".split()
)
"""What a subclass may define without another forward."""

UNCHANGED = frozenset(("device", "dtype", "shape", "ndim", "size", "dim", "numel"))
"""What another form of a layer has in common with the dense one: a weight may be read for it."""

FORWARDS = ("forward", "_conv_forward", "_call_impl", "_slow_forward", "_output_padding")


def own_computation(layer: nn.Module, dense: type[nn.Module]) -> str | None:
    """Why a layer computes another function than the plain `dense` layer; None: it does not."""
    if is_parametrized(layer):
        return (
            "is parametrized (weight or spectral norm, say): remove that first with "
            "torch.nn.utils.parametrize.remove_parametrizations"
        )
    for name in ("weight", "bias"):
        known = name in layer._parameters or isinstance(layer._modules.get(name), nn.Module)
        if not known and getattr(layer, name, None) is not None:
            return f"has a {name} that {_maker(layer, name)}"
    patched = [name for name in FORWARDS if name in vars(layer)]
    if patched:
        return f"has a {patched[0]} of its own, set on the object: no plain layer computes that"
    if own := overridden(type(layer), dense):
        return (
            f"is a {type(layer).__name__}, a {dense.__name__} with its own {', '.join(own)}: no "
            "plain layer computes that"
        )
    return None


def overridden(kind: type, dense: type) -> list[str]:
    """What a subclass defines that can change its forward or that its callers may need."""
    found = []
    for name, value in additions(kind, dense):
        if hasattr(dense, name) or not _constant(value):
            found.append(name)
    return sorted(set(found))


def additions(kind: type, dense: type) -> Iterator[tuple[str, Any]]:
    """Names and values that a subclass adds to the dense type."""
    for each in kind.__mro__:
        if each not in dense.__mro__:
            yield from ((n, v) for n, v in vars(each).items() if n not in HARMLESS)


def _constant(value: Any) -> bool:
    """A static method or a plain value: the new layer can have it too."""
    return isinstance(value, staticmethod) or not (callable(value) or hasattr(value, "__get__"))


def _maker(layer: nn.Module, name: str) -> str:
    """Who computes a weight or bias that is no parameter, and how to end that."""
    for hook in layer._forward_pre_hooks.values():
        kind = type(hook).__name__
        module = type(hook).__module__
        if module == "torch.nn.utils.prune":
            return f"pruning masks: make that final first with {module}.remove(layer, {name!r})"
        if module == "torch.nn.utils.weight_norm":
            return "weight_norm computes: fold it first with torch.nn.utils.remove_weight_norm"
        if module == "torch.nn.utils.spectral_norm":
            return "spectral_norm computes: fold it first with torch.nn.utils.remove_spectral_norm"
        if hasattr(hook, "__dict__") and getattr(hook, "name", None) == name:
            return f"a {kind} computes before each forward: fold it first"
    return "is no parameter of the layer (something else computes it): make it a parameter first"


def read_by_parent(parent: nn.Module, child: str) -> bool:
    """Whether a method of the parent reads `self.<child>.weight` past the layer.

    Found are decorated methods, properties, inner functions, and layers with a local name, as in
    `w = self.<child>; w.weight`.
    """
    members = [
        item
        for kind in type(parent).__mro__
        if kind is not nn.Module
        for item in vars(kind).items()
    ]
    for name, value in (*vars(parent).items(), *members):
        if "init" in name or name.startswith(("reset", "_load", "_reset")):
            continue  # setting up, not computing
        if isinstance(value, (FunctionType, MethodType, *METHODS)):
            function = value
            for inner in ("fget", "func", "__func__"):
                function = getattr(function, inner, function)
            if any(_reads(each.__code__, child) for each in functions(function)):
                return True
    return False


def _reads(code: CodeType, child: str) -> bool:
    within = list(codes(code))
    if not {child, "weight"} <= {name for each in within for name in each.co_names}:
        return False
    steps = [step for each in within for step in _steps(each)]
    local = {
        name for first, (kind, name) in pairwise(steps) if (first, kind) == (("of", child), "store")
    }
    layer = {("of", child), *((kind, name) for kind in ("load", "store") for name in local)}
    return any(
        first in layer and then == ("of", "weight") and not (kind == "of" and name in UNCHANGED)
        for first, then, (kind, name) in zip(steps, steps[1:], steps[2:], strict=False)
    )


def _steps(code: CodeType) -> Iterator[tuple[str, str]]:
    """The instructions: ("of", attribute), or ("load" or "store", variable), or ("", "")."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            yield "of", step.argval
        elif "_FAST" in step.opname or "_DEREF" in step.opname:
            # Python 3.13 has single instructions for two variables
            names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
            kinds = re.findall("LOAD|STORE", step.opname)
            yield from ((kind.lower(), name) for kind, name in zip(kinds, names, strict=False))
        elif step.opname not in ("COPY", "DUP_TOP", "EXTENDED_ARG"):  # (w := self.conv).weight
            yield "", ""

"""Who outside a model holds what a replacement takes out of it: optimizers, other models."""

import gc
import warnings
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer


def warn_of_outsiders(verb: str, model: nn.Module, gone: Mapping[str, nn.Module]) -> None:
    """One warning for optimizers and other modules that still hold the replaced layers.

    Args:
        gone: The replaced layers, by name, as they were.
    """
    weights = {id(p): n for n, layer in gone.items() for p in layer.parameters()}
    kept = {id(p) for p in model.parameters()}
    weights = {key: name for key, name in weights.items() if key not in kept}
    layers = {id(layer): name for name, layer in gone.items()}
    inside = {id(m) for root in (model, *gone.values()) for m in root.modules()}
    lines = []
    optimizers, modules = _with_subclasses(Optimizer), _with_subclasses(nn.Module)
    either = optimizers | modules  # a look-up is faster than issubclass, half a million times
    found: list[Any] = [thing for thing in gc.get_objects() if type(thing) in either]
    for each in found:
        kind = type(each)
        if kind in optimizers:
            held = [p for group in getattr(each, "param_groups", ()) for p in group["params"]]
            if names := {weights[id(p)] for p in held if id(p) in weights}:
                lines.append(
                    f"an optimizer ({kind.__name__}) made before {verb} holds the old weights of "
                    f"{_some(names)} and would not train the new ones: make it after {verb}"
                )
        elif id(each) not in inside:
            registers = vars(each)
            names = {
                layers[id(m)] for m in registers.get("_modules", {}).values() if id(m) in layers
            }
            parameters = registers.get("_parameters", {}).values()
            names |= {weights[id(p)] for p in parameters if id(p) in weights}
            if names:
                lines.append(
                    f"{kind.__name__}, outside this model, holds {_some(names)} too and keeps the "
                    "old weights, no longer shared"
                )
    if lines:
        warnings.warn("; ".join(sorted(set(lines))), stacklevel=3)


def _with_subclasses(kind: type) -> set[type]:
    found = {kind}
    direct: list[type] = type.__subclasses__(kind)
    for each in direct:
        if each not in found:
            found |= _with_subclasses(each)
    return found


def _some(names: set[str]) -> str:
    first = sorted(names)[:4]
    more = len(names) - len(first)
    return ", ".join(f"layer '{name}'" for name in first) + (f" and {more} more" if more else "")

"""The way back: plain layers in the place of tensorized ones."""

from typing import Any, TypeVar, cast

import torch
from torch import nn

from ..errors import UsageError
from ..replacement import audit, refuse_wrappers, replace, warn_of_outsiders
from .drop_in import DropIn
from .weight import TuckerWeight

M = TypeVar("M", bound=nn.Module)


def detensorize(model: M) -> M:
    """Put plain dense layers in the place of tensorized ones, in place, and return the model.

    Their weights are those of theta = 1, so the model computes what it does under
    `sketching.disabled`: for deployment, and for tools that know plain layers alone. Binary layers
    stay binary, over a plain weight. What hangs on a layer stays with it, as in `tensorize`. A
    layer of a subclass comes back as the plain type.

    Raises:
        UsageError: Nothing is tensorized, or something on a layer would be lost.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"detensorize takes a torch.nn.Module, got {type(model).__name__}")
    refuse_wrappers(model)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, DropIn)}
    others = {
        name: module
        for name, module in model.named_modules()
        if not isinstance(module, DropIn)
        and isinstance(module._modules.get("weight"), TuckerWeight)
    }
    if not layers and not others:
        raise UsageError(f"{type(model).__name__} has no layer that is tensorized")
    for name, module in others.items():
        if not hasattr(module, "take_weight"):
            raise UsageError(
                f"layer '{name}' ({type(module).__name__}) has a tensorized weight and "
                "no plain form"
            )
    dense: dict[nn.Module, type] = {layer: layer.dense_type for layer in layers.values()}
    found = audit(model, layers | others, dense)
    plain: dict[int, nn.Parameter] = {}

    def shared(weight: TuckerWeight) -> nn.Parameter:
        """One parameter for each weight, however many layers it has."""
        if id(weight) not in plain:
            kernel = weight.kernel(None).detach().clone(memory_format=torch.contiguous_format)
            parameter = nn.Parameter(kernel, requires_grad=weight.requires_grad)
            plain[id(weight)] = parameter
            parameter.__dict__.update(weight.core.__dict__)
        return plain[id(weight)]

    made: dict[nn.Module, nn.Module] = {}
    for layer in layers.values():
        made[layer] = layer._filled()
        made[layer]._parameters["weight"] = shared(layer.weight)
    result = replace(model, made, [f for f in found if f.target in made], dense)
    for module in others.values():
        cast(Any, module).take_weight(shared(cast(TuckerWeight, module.weight)))
    vars(result).pop("tensorization", None)
    warn_of_outsiders("detensorize", result, layers)
    return result

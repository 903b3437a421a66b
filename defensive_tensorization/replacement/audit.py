"""Refuse a replacement that would lose something, before anything is changed."""

from collections.abc import Mapping
from itertools import pairwise
from typing import NoReturn, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from ..errors import UsageError
from .carry import clash
from .hooks import lost
from .references import Reference, references, registered
from .weights import unfit

WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel")


def refuse_wrappers(model: nn.Module) -> None:
    """Refuse a model that is compiled by torch.jit or wrapped for several devices, or has such a
    part; asked first, as the registers of torch.jit's modules are no dictionaries.

    Raises:
        UsageError: By the part's name.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) or type(module).__name__ in WRAPPERS:
            where = f"layer '{name}'" if name else "the model"
            raise UsageError(
                f"{where} is a {type(module).__name__}, which holds on to the weights it was made "
                "with: change the model first, then script, trace or wrap it"
            )


def audit(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    new: Mapping[nn.Module, type],
    *,
    same_weights: bool = False,
) -> list[Reference]:
    """Every reference within the model to the layers that go.

    Args:
        layers: The layers that go, by name.
        new: The type of the layer that comes in the place of each; a layer without one stays
            and gets another weight.
        same_weights: Whether the new layers keep the old ones' parameters.

    Raises:
        UsageError: By the layer's name: something on a layer, or someone who holds it or its
            weight, would be lost. Nothing has been changed.
    """
    for name, layer in layers.items():
        if isinstance(layer, LazyModuleMixin):
            raise UsageError(
                f"layer '{name}' is lazy and has no weights yet: run the model once first"
            )
        reason = lost(layer, same_weights=same_weights)
        if layer in new:
            reason = reason or clash(layer, new[layer])
        if not same_weights and "weight" in layer._parameters:
            reason = reason or unfit(layer)
        if reason:
            _refuse(name, reason)
    weights = {} if same_weights else _sole_owners(model, layers)
    return _movable(model, {n: m for n, m in layers.items() if m in new}, weights)


def _weights(layer: nn.Module) -> list[tuple[nn.Module, str, nn.Parameter]]:
    """The register, the name and the parameter of what makes up a layer's weight."""
    inner = layer._modules.get("weight")
    if inner is None:
        return [(layer, "weight", cast(nn.Parameter, layer._parameters["weight"]))]
    return [(m, key, p) for _, key, m, p in registered(inner)]


def _sole_owners(model: nn.Module, layers: Mapping[str, nn.Module]) -> dict[int, str]:
    """Whose weights go, by id; UsageError: something that stays uses one of them too."""
    held = [(name, *entry) for name, layer in layers.items() for entry in _weights(layer)]
    owners = {id(weight): name for name, _, _, weight in held}
    going = {(id(module), key) for _, module, key, _ in held}
    staying = [
        (f"{name}.{key}" if name else key, tensor)
        for name, module in model.named_modules()
        for register in (module._parameters, module._buffers)
        for key, tensor in register.items()
        if tensor is not None and (id(module), key) not in going
    ]
    for other, tensor in staying:
        if id(tensor) in owners:
            _refuse(
                owners[id(tensor)],
                f"shares its weight with '{other}', which stays: they would part",
            )
    spans = [(other, id(tensor), span) for other, tensor in staying if (span := _span(tensor))]
    spans += [(f"{name}.{key}", id(p), span) for name, _, key, p in held if (span := _span(p))]
    spans.sort(key=lambda each: each[2])
    for (first, one, (_, end)), (second, other_one, (start, _)) in pairwise(spans):
        if one != other_one and start < end and owners.keys() & {one, other_one}:
            name = owners.get(one) or owners[other_one]
            _refuse(name, f"shares memory with another tensor ('{first}' and '{second}')")
    return owners


def _span(tensor: Tensor) -> tuple[int, int] | None:
    """Where a plain tensor lies in memory: first byte and the one behind the last."""
    if type(tensor.data) is not Tensor or tensor.is_meta or tensor.layout != torch.strided:
        return None
    if not tensor.numel():
        return None
    last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def _movable(
    model: nn.Module, layers: Mapping[str, nn.Module], weights: Mapping[int, str]
) -> list[Reference]:
    names = {id(layer): name for name, layer in layers.items()}
    parameters = {id(p): p for p in model.parameters() if id(p) in weights}
    found = references(model, [*layers.values(), *parameters.values()])
    for each in found:
        if id(each.target) in weights:
            _refuse(
                weights[id(each.target)],
                f"has its weight also in the attribute '{each.where}', which would keep the old "
                "one: fill that after the call",
            )
        if each.put is None:
            _refuse(
                names[id(each.target)],
                f"is also held through the attribute '{each.where}' (a closure, a global, a class "
                "attribute, a tuple or the like), which would go on calling the old layer: use "
                "self.<layer> there, or set it after the call",
            )
    return found


def _refuse(name: str, reason: str) -> NoReturn:
    raise UsageError(f"layer '{name}' {reason}; or leave the layer as it is: exclude=[{name!r}]")

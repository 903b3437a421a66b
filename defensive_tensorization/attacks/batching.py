"""Whether the draws of a batch run as one: the batch repeated, each repeat under its own draw.

That is the automatic choice where TOGETHER and WORTHWHILE allow, and where the repeats get what
they would get one by one.
"""

import re
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .. import sketching
from ..randomness import images_meet, varies

TOGETHER = {"cpu": 200, "cuda": 1024}  # examples of a batched pass, at most: more save nothing
WORTHWHILE = {"cpu": 10}  # draws of one pass, at least: fewer, of larger batches, may be slower


def most_together(model: nn.Module, batch: int, device: torch.device) -> int:
    """The automatic choice: how many draws of a batch run as one; 1: in a loop.

    A layer says by `shared_draws` that one draw at a time is cheaper for it, or the only way.
    """
    shared = any(getattr(module, "shared_draws", False) for module in model.modules())
    if shared or not sketching.is_live(model):
        return 1
    most = TOGETHER.get(device.type, 200) // batch
    return most if most >= WORTHWHILE.get(device.type, 1) else 1


def repeatable(model: nn.Module, x: Tensor) -> bool:
    """Whether a batch x [B, ...] can be repeated, each repeat under its own draw.

    False in five cases: the forward takes images one by one, or gives a layer that draws something
    else than these or a reference set; something beside the sketches is random, whose draw repeats
    would share; an answer depends on the other images of the batch; BatchNorm takes the statistics
    of the batch; the graph is compiled.
    """
    modules = [*model.modules()]
    if any(getattr(m, "_compiled_call_impl", None) or hasattr(m, "_orig_mod") for m in modules):
        return False
    if any(isinstance(m, _BatchNorm) and (m.training or m.running_mean is None) for m in modules):
        return False
    x = x if len(x) > 1 else torch.cat([x, x])  # one may be a batch of a layer's own
    references = (getattr(module, "reference", None) for module in modules)
    sizes = {len(x), *(len(each) for each in references if isinstance(each, Tensor))}
    layers = dict(model.named_modules())  # a wrapper's, which names its model's own
    met: dict[nn.Module, set[int]] = {
        layers[re.sub(r"(^|\.)weight$", "", name)]: set() for name in sketching.sketches(model)
    }

    def meet(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        met[layer].add(len([*given, *named.values()][0]))

    hooks = [layer.register_forward_pre_hook(meet, with_kwargs=True) for layer in met]
    try:
        with torch.no_grad(), sketching.disabled(model):
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    if not all(each and each <= sizes for each in met.values()):
        return False
    if draws_more(model, x):
        return False
    with sketching.disabled(model):
        return not images_meet(model, x)


def draws_more(model: nn.Module, x: Tensor) -> bool:
    """Whether something beside its sketches varies a model's answers to x [B, ...]."""
    with sketching.disabled(model):
        return varies(model, x, exactly=True)


def batching_note(model: nn.Module, batch: int, device: torch.device) -> str:
    """The automatic choice in words, for a row."""
    most = most_together(model, batch, device)
    return "in a loop" if most == 1 else f"batched, up to {most} at a time"

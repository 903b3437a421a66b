"""Weights that cannot be decomposed, and why."""

from typing import Any

import torch
from torch import Tensor, nn


def unfit(layer: nn.Module) -> str | None:
    """Why the weight of a layer has no decomposition; None: it has one."""
    weight: Any = layer.weight
    if type(weight) is not nn.Parameter or type(weight.data) is not Tensor:
        kind = type(weight if type(weight) is not nn.Parameter else weight.data).__name__
        return f"has a weight of type {kind}: only plain parameters are decomposed"
    if reason := unfit_values(weight.detach()):
        return f"has a weight {reason}"
    if weight._backward_hooks or getattr(weight, "_post_accumulate_grad_hooks", None):
        return "has a gradient hook on its weight, which becomes a core and factors: remove it"
    return None


def unfit_values(kernel: Tensor) -> str | None:
    """Why a kernel has no decomposition; None: it has one."""
    if kernel.is_meta:
        return "on the meta device, without values: load the weights first"
    if kernel.layout != torch.strided:
        return f"of layout {kernel.layout}: make it dense first"
    if not kernel.is_floating_point():
        return f"of type {kernel.dtype}: only real floating-point weights are decomposed"
    if not kernel.numel():
        return f"of shape {list(kernel.shape)}, which holds nothing"
    bad = int((~kernel.isfinite()).sum())
    if bad:
        return f"with {bad} of {kernel.numel()} values that are not finite: train or load it anew"
    return None

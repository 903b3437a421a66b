"""Normalisation by fixed statistics, part by part of a batch: what recalibrated BatchNorm does.

torch's backward of BatchNorm in evaluation computes, on a CPU, the sums that the gradients of
weight and bias would need also where nobody wants these. The gradient of the input is but a
normalisation of the incoming one, by mean 0 and without a bias, so both directions are one
function here. It writes the parts into one tensor: they are not put together by a copy.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

from ..sketching import eager

Statistics = tuple[Tensor, Tensor]
"""Mean [C] and variance [C] (divided by n)."""


def normalise(
    x: Tensor,
    statistics: Sequence[Statistics],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, each part of x by its own statistics.

    Args:
        x: [B, C, ...], equal parts, one after the other.
        statistics: of each part.
    """
    means, variances = zip(*statistics, strict=True)
    if _fast(x, weight, bias):
        made = _Fixed.apply(x, weight, bias, eps, *means, *variances)  # type: ignore[no-untyped-call]
        return cast(Tensor, made)
    return _differentiable(x, weight, bias, means, variances, eps)


def _fast(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> bool:
    """Whether this is eager mode on a CPU, and a gradient is wanted for x at most."""
    if x.device.type != "cpu" or eager.leaves() or forward_ad._current_level >= 0:
        return False
    wanted = torch.is_grad_enabled() and any(
        p is not None and p.requires_grad for p in (weight, bias)
    )
    return not wanted and _layout(x) is not None


def _layout(x: Tensor) -> torch.memory_format | None:
    layouts = (torch.contiguous_format, torch.channels_last)[: 1 + (x.ndim == 4)]
    return next((each for each in layouts if x.is_contiguous(memory_format=each)), None)


def _differentiable(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    means: Sequence[Tensor],
    variances: Sequence[Tensor],
    eps: float,
) -> Tensor:
    if len(means) == 1:
        return F.batch_norm(x, means[0], variances[0], weight, bias, eps=eps)
    parts = zip(x.chunk(len(means)), means, variances, strict=True)
    return torch.cat([F.batch_norm(part, m, v, weight, bias, eps=eps) for part, m, v in parts])


def _written(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    means: Sequence[Tensor],
    variances: Sequence[Tensor],
    eps: float,
) -> Tensor:
    made, nothing = torch.empty_like(x), means[0].new_empty(0)
    parts = zip(x.chunk(len(means)), made.chunk(len(means)), means, variances, strict=True)
    for part, into, mean, variance in parts:
        torch.ops.aten.native_batch_norm.out(
            *(part, weight, bias, mean, variance, False, 0.0, eps),
            out=into,
            save_mean=nothing,
            save_invstd=nothing,
        )
    return made


class _Fixed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        *statistics: Tensor,
    ) -> Tensor:
        count = len(statistics) // 2
        means, variances = statistics[:count], statistics[count:]
        ctx.save_for_backward(weight, *variances)
        ctx.layout, ctx.eps = _layout(x), eps
        return _written(x, weight, bias, means, variances, eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        weight, *variances = ctx.saved_tensors
        zeros = [torch.zeros_like(variances[0])] * len(variances)
        if torch.is_grad_enabled() and gradient.requires_grad:
            made = _differentiable(gradient, weight, None, zeros, variances, ctx.eps)
        else:
            gradient = gradient.contiguous(memory_format=ctx.layout)
            made = _written(gradient, weight, None, zeros, variances, ctx.eps)
        return (made, None, None, None, *[None] * (2 * len(variances)))

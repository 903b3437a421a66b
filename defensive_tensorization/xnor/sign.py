"""sgn with sgn(0) = 1, its straight-through gradient, and the surrogates an attacker may take.

Training uses the identity clipped to |x| < 1 (Rastegari et al. 2016). Inside

    with surrogate("tanh"): ...

gradients of inputs are those of tanh(x) instead; every forward is the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ..errors import UsageError

Derivative = Callable[[Tensor, Tensor], Tensor]
"""(gradient, x) to the gradient times the derivative that is taken for sgn's at x."""


def _clipped(gradient: Tensor, x: Tensor) -> Tensor:
    return cast(Tensor, torch.ops.aten.hardtanh_backward(gradient, x, -1, 1))


def _tanh(slope: float) -> Derivative:
    def derivative(gradient: Tensor, x: Tensor) -> Tensor:
        y = torch.tanh(slope * x)
        return slope * cast(Tensor, torch.ops.aten.tanh_backward(gradient, y))

    return derivative


SURROGATES: dict[str, Derivative] = {
    "identity": _clipped,
    "tanh": _tanh(1.0),
    "tanh075": _tanh(0.75),
}

_chosen: ContextVar[str] = ContextVar("surrogate", default="identity")


@contextmanager
def surrogate(name: str) -> Iterator[None]:
    """Until the block ends, in this thread: the derivative taken for sgn's at a layer's input."""
    if name not in SURROGATES:
        raise UsageError(f"surrogate must be one of {', '.join(SURROGATES)}, got {name!r}")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def sign(x: Tensor) -> Tensor:
    """1 where x >= 0 (-0.0 too), else -1; the gradient is the identity's, clipped to |x| < 1."""
    return cast(Tensor, _Sign.apply(x, _clipped))  # type: ignore[no-untyped-call]


def sign_of_input(x: Tensor) -> Tensor:
    """The same; the gradient is that of the surrogate in force."""
    return cast(Tensor, _Sign.apply(x, SURROGATES[_chosen.get()]))  # type: ignore[no-untyped-call]


def mean_magnitude(x: Tensor, signs: Tensor, groups: int = 1) -> Tensor:
    """|x| averaged over the channels of each group: [B, C, ...] to [B, groups, ...].

    signs  sgn(x), which the gradient reuses.
    """
    return cast(Tensor, _MeanMagnitude.apply(x, signs, groups))  # type: ignore[no-untyped-call]


class _Sign(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, derivative: Derivative) -> Tensor:
        ctx.save_for_backward(x)
        ctx.derivative = derivative
        signs = x + 0.0  # -0.0 becomes 0.0
        return torch.copysign(torch.ones((), dtype=x.dtype, device=x.device), signs, out=signs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.derivative(gradient, *ctx.saved_tensors), None


class _MeanMagnitude(Function):
    """As 1x1 convolutions, several times faster on channels-last bfloat16 than a reduction over
    the channels and, in the gradient, a broadcast."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, signs: Tensor, groups: int) -> Tensor:
        size = x.shape[1] // groups
        weight = x.new_full((groups, size, *[1] * (x.ndim - 2)), 1 / size)
        ctx.save_for_backward(signs, weight)
        ctx.groups = groups
        with torch.autocast(x.device.type, enabled=False):
            return convolution(x)(x.abs(), weight, groups=groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        signs, weight = ctx.saved_tensors
        spread = transposed(gradient)(gradient, weight, groups=ctx.groups)
        return spread.mul_(signs), None, None


def convolution(x: Tensor) -> Callable[..., Tensor]:
    """The convolution over the dimensions that x [B, C, ...] has behind its channels."""
    return (torch.conv1d, torch.conv2d, torch.conv3d)[x.ndim - 3]


def transposed(x: Tensor) -> Callable[..., Tensor]:
    return (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[x.ndim - 3]

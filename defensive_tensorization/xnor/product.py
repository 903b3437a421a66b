"""The two halves of Eq. 5 as functions with gradients of their own.

Binary layers spend their time on memory, not on sums: tensors of an activation's size are made only
where no buffer at hand will do, and a CPU sums over the channels of channels-last images as a
matrix product, which is its fastest way.
"""

from functools import reduce
from math import prod
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ..sketching import eager
from ..system.convolution import laid_out_as, unit_stride
from . import in_graph
from .geometry import Geometry
from .sign import Derivative, chosen, clipped, derivative, sgn

_convolution = torch.ops.aten.convolution
_convolution_backward = torch.ops.aten.convolution_backward


def binary_weight(kernel: Tensor, window: int, alpha: bool = True) -> Tensor:
    """alpha sgn(W) of kernels [..., F, C, k...] with `window` spatial modes; or sgn(W) alone.

    W is the kernel centred over C (a single channel is not: nothing would be left), then clipped
    to [-1, 1]; alpha the mean of |W| over a filter. The gradient passes through all of it, with
    the clipped identity for sgn.
    """
    if eager.leaves():
        return in_graph.binary_weight(kernel, window, alpha)
    made = _BinaryWeight.apply(kernel, window, alpha)  # type: ignore[no-untyped-call]
    return cast(Tensor, made)


def binary_product(x: Tensor, weight: Tensor, geometry: Geometry, K: bool = True) -> Tensor:
    """(sgn(x) (*) weight) . K for x [B, C, ...] and weight [F, C / groups, k...].

    K averages |x| over the channels of a group and the window. The gradient takes the surrogate
    in force for sgn's, and K's own.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        x, weight = (t.to(torch.get_autocast_dtype(device)) for t in (x, weight))
    x, stride = unit_stride(x, weight, geometry.stride, geometry.padding, geometry.groups)
    weight, geometry = laid_out_as(weight, x), geometry._replace(stride=tuple(stride))
    with torch.autocast(device, enabled=False):
        if eager.leaves():
            return in_graph.binary_product(x, weight, geometry, K, chosen())
        made = _BinaryProduct.apply(x, weight, geometry, K, derivative())  # type: ignore[no-untyped-call]
        return cast(Tensor, made)


def latent(kernel: Tensor, window: int) -> Tensor:
    """W: kernels [..., F, C, k...], centred and clipped."""
    channels = -1 - window
    if kernel.shape[channels] == 1:
        return kernel.clamp(-1, 1)
    return (kernel - kernel.mean(channels, keepdim=True)).clamp_(-1, 1)


class _BinaryWeight(Function):
    @staticmethod
    def forward(ctx: Any, kernel: Tensor, window: int, alpha: bool) -> Tensor:
        w = latent(kernel, window)
        signs = sgn(w)
        ctx.save_for_backward(w, signs)
        ctx.window, ctx.alpha = window, alpha
        return signs * _alpha(w, window) if alpha else signs.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        w, signs = ctx.saved_tensors
        filter_ = tuple(range(-1 - ctx.window, 0))
        if ctx.alpha:
            of_alpha = (gradient * signs).mean(filter_, keepdim=True)
            gradient = (gradient * _alpha(w, ctx.window)).add_(signs * of_alpha)
        else:
            gradient = gradient.clone()
        gradient = clipped(gradient, w)
        if w.shape[filter_[0]] > 1:
            gradient = gradient - gradient.mean(filter_[0], keepdim=True)
        return gradient, None, None


def _alpha(w: Tensor, window: int) -> Tensor:
    return w.abs().mean(tuple(range(-1 - window, 0)), keepdim=True)


class _BinaryProduct(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, geometry: Geometry, K: bool, slope: Derivative
    ) -> Tensor:
        ctx.geometry, ctx.slope = geometry, slope
        signs = torch.empty_like(x)
        magnitude = _sum(torch.abs(x, out=signs), geometry.groups) if K else None
        y = _convolve(sgn(x, out=signs), weight, geometry)
        if magnitude is None:
            ctx.save_for_backward(x, signs, weight)
            return y
        magnitude /= x.shape[1] // geometry.groups
        scale = box(magnitude, weight.shape[2:], geometry).to(y.dtype)
        ctx.save_for_backward(x, signs, weight, y, scale)
        return y * _spread(scale, y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, signs, weight, *of_K = ctx.saved_tensors
        g: Geometry = ctx.geometry
        of_y = gradient
        if of_K:
            y, scale = of_K
            of_y = gradient * _spread(scale, y)
        of_x, of_weight = _backward(of_y, signs, weight, g, ctx.needs_input_grad[:2])
        if of_x is not None:
            of_x = ctx.slope(of_x, x)
        if of_K and of_x is not None:
            of_scale = _sum(torch.mul(gradient, y, out=of_y), g.groups)
            of_magnitude = box_adjoint(of_scale, x.shape[2:], weight.shape[2:], g)
            of_magnitude /= x.shape[1] // g.groups
            of_x.addcmul_(signs, _spread(of_magnitude.to(x.dtype), x))
        return of_x, of_weight, None, None, None


def box(magnitude: Tensor, window: tuple[int, ...], g: Geometry) -> Tensor:
    """The mean over the window at each position: [B, groups, ...] to [B, groups, ...].

    One mode after the other, as sums of shifted views: a CPU's pooling takes six times as long.
    """
    made = F.pad(magnitude / prod(window), [p for p in reversed(g.padding) for _ in range(2)])
    for mode in range(len(window)):
        made = reduce(torch.add, _shifted(made, mode, window, g))
    return made


def box_adjoint(
    gradient: Tensor, sizes: tuple[int, ...], window: tuple[int, ...], g: Geometry
) -> Tensor:
    """The gradient of `box` by a magnitude of these spatial sizes."""
    made = gradient / prod(window)
    for mode in reversed(range(len(window))):
        shape = list(made.shape)
        shape[2 + mode] = sizes[mode] + 2 * g.padding[mode]
        padded = made.new_zeros(shape)
        for each in _shifted(padded, mode, window, g):
            each += made
        made = padded.narrow(2 + mode, g.padding[mode], sizes[mode])
    return made


def _shifted(padded: Tensor, mode: int, window: tuple[int, ...], g: Geometry) -> tuple[Tensor, ...]:
    """Views along a spatial mode: what each place of the window meets at every position."""
    apart = g.dilation[mode]
    met = padded.unfold(2 + mode, apart * (window[mode] - 1) + 1, g.stride[mode])
    return met[..., ::apart].unbind(-1)


def _sum(x: Tensor, groups: int) -> Tensor:
    """Over the channels of each group: [B, C, ...] to [B, groups, ...], as float32 at least.

    What lies channels-last is summed on a CPU as a product, whose result has x's precision.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    rows = x.movedim(1, -1)
    if groups == 1 and x.device.type == "cpu" and rows.is_contiguous():
        made = rows.flatten(0, -2).mv(x.new_ones(x.shape[1])).view(rows.shape[:-1]).unsqueeze(1)
    else:
        made = x.unflatten(1, (groups, -1)).sum(2, dtype=wide)
    return made.to(wide)


def _spread(scale: Tensor, like: Tensor) -> Tensor:
    """scale [B, groups, ...], such that a product with `like` [B, C, ...] repeats it in a group."""
    if scale.shape[1] == 1:
        return torch.empty_like(like).copy_(scale) if _short(like) else scale
    return scale.repeat_interleave(like.shape[1] // scale.shape[1], 1)


def _short(x: Tensor) -> bool:
    """Rows shorter than a CPU's vector, of a type that it converts: slow to broadcast to."""
    few = x.stride(1) == 1 and x.shape[1] <= 16
    return few and x.device.type == "cpu" and x.element_size() < 4


def _convolve(x: Tensor, weight: Tensor, g: Geometry) -> Tensor:
    none = (0,) * len(g.stride)
    made = _convolution(x, weight, None, g.stride, g.padding, g.dilation, False, none, g.groups)
    return cast(Tensor, made)


def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, g: Geometry, wanted: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    none = (0,) * len(g.stride)
    of_x, of_weight, _ = _convolution_backward(
        *(gradient, x, weight, None, g.stride, g.padding, g.dilation, False, none, g.groups),
        (*wanted, False),
    )
    return of_x, of_weight

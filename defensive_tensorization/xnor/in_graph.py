"""The two halves of Eq. 5 in plain operations, for graphs and transforms of torch.func.

They have no autograd.Function, which vmap, torch.export and torch.jit.save do not take. Where a
gradient is wanted, sgn(x) is written as f(x) + (sgn(x) - f(x)) without gradient for the second
part, f being the function whose derivative stands for sgn's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Geometry
from .sign import FUNCTIONS


def binary_weight(kernel: Tensor, window: int, alpha: bool) -> Tensor:
    """As `product.binary_weight`: kernels [..., F, C, k...]."""
    channels = -1 - window
    if kernel.shape[channels] > 1:
        kernel = kernel - kernel.mean(channels, keepdim=True)
    w = F.hardtanh(kernel)
    made = _straight_through(w, w.to(torch.promote_types(w.dtype, torch.float32)))
    return made * _magnitude(w).mean(tuple(range(channels, 0)), keepdim=True) if alpha else made


def binary_product(x: Tensor, weight: Tensor, g: Geometry, K: bool, sign_gradient: str) -> Tensor:
    """As `product.binary_product`: x [B, C, ...] and weight [F, C / groups, k...]."""
    convolution = (F.conv1d, F.conv2d, F.conv3d)[len(g.stride) - 1]
    surrogate = FUNCTIONS[sign_gradient](x.to(torch.promote_types(x.dtype, torch.float32)))
    y = convolution(_straight_through(x, surrogate), weight, None, *g)
    if not K:
        return y
    wide = _magnitude(x).to(torch.promote_types(x.dtype, torch.float32))
    mean = wide.unflatten(1, (g.groups, -1)).mean(2)
    cells = weight[0, 0].numel()
    box = torch.full((g.groups, 1, *weight.shape[2:]), 1 / cells, dtype=mean.dtype, device=x.device)
    scale = convolution(mean, box, None, *g).to(y.dtype)
    return y * (scale if g.groups == 1 else scale.repeat_interleave(y.shape[1] // g.groups, 1))


def _signs(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def _straight_through(x: Tensor, surrogate: Tensor) -> Tensor:
    """sgn(x), with the gradient of `surrogate`, which is float32 at least: else no sum is +-1."""
    signs = _signs(x)
    tracing = torch._C._get_tracing_state() is not None  # twice, for comparison: with and without
    if not torch.is_grad_enabled() and not tracing:
        return signs
    return (surrogate + (signs - surrogate).detach()).to(x.dtype)


def _magnitude(x: Tensor) -> Tensor:
    """|x|, with the derivative 1 at 0."""
    return x * _signs(x).detach()

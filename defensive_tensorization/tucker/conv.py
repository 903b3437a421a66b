"""A convolution whose kernel is a randomized Tucker tensor, drawn anew at every forward."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .decompose import Rank
from .weight import TuckerWeight


class TuckerConv2d(nn.Module):
    """[B, in_channels, H, W] to [B, out_channels, H', W'], as nn.Conv2d with the drawn kernel.

    At theta = 1 it equals the dense convolution it was made from.
    """

    def __init__(
        self,
        weight: TuckerWeight,
        bias: Tensor | None,
        *,
        stride: tuple[int, ...],
        padding: str | tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.bias = None if bias is None else nn.Parameter(bias)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    @classmethod
    def from_conv(cls, conv: nn.Conv2d, theta: float, **options: Any) -> "TuckerConv2d":
        """Start at `conv`; `options` as in TuckerWeight.from_dense."""
        return cls(
            TuckerWeight.from_dense(conv.weight, theta, **options),
            None if conv.bias is None else conv.bias.detach().clone(),
            stride=conv.stride,
            padding=conv.padding,
            dilation=conv.dilation,
            groups=conv.groups,
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(
            x, self.weight(), self.bias, self.stride, self.padding, self.dilation, self.groups
        )


def conv_factory(
    *,
    theta: float,
    rank: Rank = "full",
    modes: list[int] | None = None,
    min_dim: int = 1,
    min_keep: int = 1,
    rescale: bool = False,
    init: str = "hosvd",
) -> Callable[..., nn.Module]:
    """A drop-in for nn.Conv2d as a model's layer factory: same arguments, same initial kernels."""

    def make(*args: Any, **kwargs: Any) -> nn.Module:
        return TuckerConv2d.from_conv(
            nn.Conv2d(*args, **kwargs),
            theta,
            rank=rank,
            init=init,
            modes=modes,
            min_dim=min_dim,
            min_keep=min_keep,
            rescale=rescale,
        )

    return make

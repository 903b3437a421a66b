"""Convolutions whose kernel is a randomized Tucker tensor, drawn anew at every forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..convolution import laid_out_as, unit_stride
from ..draws import draws_in, spread
from ..errors import UsageError
from ..sketch import Masks
from .decompose import Rank
from .paths import factorized, factorized_is_cheaper
from .weight import TuckerWeight, one_of

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11


class _TuckerConvNd(nn.Module):
    """[B, in_channels, ...] to [B, out_channels, ...], as the dense layer with the drawn kernel.

    At theta = 1 it equals the dense convolution it was made from.
    """

    dense_type: ClassVar[type[nn.modules.conv._ConvNd]]
    convolution: ClassVar[Callable[..., Tensor]]

    geometry: ClassVar[tuple[str, ...]] = (
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
    )

    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str

    def __init__(self, weight: TuckerWeight, bias: Tensor | None, **geometry: Any) -> None:
        super().__init__()
        self.weight = weight
        self.bias = None if bias is None else nn.Parameter(bias)
        for name in self.geometry:
            setattr(self, name, geometry[name])

    @classmethod
    def from_conv(cls, conv: nn.modules.conv._ConvNd, theta: float, **options: Any) -> Self:
        """Start at `conv`; `options` as in TuckerWeight.from_dense."""
        if type(conv) is not cls.dense_type:
            raise UsageError(
                f"{cls.__name__} is made from {cls.dense_type.__name__}, got {type(conv).__name__}"
            )
        layer = cls(
            TuckerWeight.from_dense(conv.weight, theta, **options),
            None if conv.bias is None else conv.bias.detach().clone(),
            **{name: getattr(conv, name) for name in cls.geometry},
        )
        return layer.train(conv.training)

    @property
    def in_channels(self) -> int:
        return self.weight.shape[1] * self.groups

    @property
    def out_channels(self) -> int:
        return self.weight.shape[0]

    @property
    def shared_draws(self) -> bool:
        """Several draws at once would make a kernel for each: activations cannot take the masks."""
        return self.groups != 1 or any(mode >= 2 for mode in self.weight.sketch.modes)

    def dense(self) -> nn.modules.conv._ConvNd:
        """A plain layer with the full weights (theta = 1)."""
        kernel = self.weight.kernel(None).detach()
        conv = self.dense_type(
            self.in_channels,
            self.out_channels,
            kernel.shape[2:],
            bias=self.bias is not None,
            device=kernel.device,
            dtype=kernel.dtype,
            **{name: getattr(self, name) for name in self.geometry},
        )
        conv.load_state_dict(
            {"weight": kernel} | ({} if self.bias is None else {"bias": self.bias})
        )
        return conv.train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        batched = x.ndim == len(self.weight.shape)
        masks = self.weight.draw(len(x) if batched else 1, whole=True)
        if not batched:
            x = x.unsqueeze(0)
        if masks is None or draws_in(masks) is None:
            y = self._under(masks, x)
        else:
            y = self._under_several(masks, x)
        return y if batched else y.squeeze(0)

    def _under(self, masks: Masks | None, x: Tensor) -> Tensor:
        """x [B, C, ...] under one draw, by the cheaper path."""
        if not (masks is None and self.weight.keeps) and self._cheaper_factorized(x):
            return self._factorized(masks, x)
        return self._convolve(x, self.weight.kernel(masks), self.bias)

    def _under_several(self, masks: Masks, x: Tensor) -> Tensor:
        """Each of as many equal parts of x as there are draws under its own."""
        each = len(x) // (draws_in(masks) or 1)
        of_channels = self.groups == 1 and all(m is None for m in masks[2:])
        if of_channels and (each == 1 or self._cheaper_factorized(x[:each])):
            return self._factorized(spread(masks, each), x)
        if each == 1:
            return self._kernel_each(self.weight.kernel(masks), x)
        parts = enumerate(x.split(each))
        return torch.cat([self._under(one_of(masks, i), part) for i, part in parts])

    def _factorized(self, masks: Masks | None, x: Tensor) -> Tensor:
        own = masks and (None, None, *masks[2:])
        of_channels = masks[:2] if masks else (None, None)
        return factorized(x, *self.weight.latent(own), of_channels, self.bias, self._convolve)

    def _cheaper_factorized(self, x: Tensor) -> bool:
        """For this input, by operation count."""
        if self.groups != 1:
            return False
        outputs = inputs = x.shape[0]
        for size, step in zip(x.shape[2:], self.stride, strict=True):
            inputs *= size
            outputs *= -(-size // step)
        return factorized_is_cheaper(
            *(self.weight.core.shape, self.weight.shape, inputs, outputs),
            attack=self.weight.frozen and x.requires_grad,
        )

    def _kernel_each(self, kernels: Tensor, x: Tensor) -> Tensor:
        """kernels [B, n_0, n_1, k...] and x [B, C, ...]: each example under its own kernel."""
        together = x.reshape(1, -1, *x.shape[2:])
        y = self._convolve(together, kernels.flatten(0, 1), None, groups=len(x) * self.groups)
        y = y.reshape(len(x), -1, *y.shape[2:])
        return y if self.bias is None else y + self.bias.view(-1, *[1] * (y.ndim - 2))

    def _convolve(
        self, x: Tensor, kernel: Tensor, bias: Tensor | None, groups: int | None = None
    ) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, self._pads(kernel.shape[2:]), mode=self.padding_mode)
            padding = (0,) * len(self.stride)
        convolution, groups = type(self).convolution, groups or self.groups
        kernel = laid_out_as(kernel, x)
        x, stride = unit_stride(x, kernel, self.stride, padding, groups)
        return convolution(x, kernel, bias, stride, padding, self.dilation, groups)

    def _pads(self, window: tuple[int, ...]) -> list[int]:
        """Amounts for F.pad, last dimension first."""
        pads: list[int] = []
        for i in reversed(range(len(window))):
            if self.padding == "same":
                total = self.dilation[i] * (window[i] - 1)
                pads += [total // 2, total - total // 2]
            elif self.padding == "valid":
                pads += [0, 0]
            else:
                pads += [int(self.padding[i])] * 2
        return pads

    def extra_repr(self) -> str:
        core = "x".join(map(str, self.weight.core.shape))
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.weight.shape[2:]}, "
            f"core={core}, theta={self.weight.sketch.theta:g}"
        )


class TuckerConv1d(_TuckerConvNd):
    """[B, C, L] to [B, C', L']: nn.Conv1d with a randomized Tucker kernel (Eq. 3 and 4)."""

    dense_type = nn.Conv1d
    convolution = F.conv1d


class TuckerConv2d(_TuckerConvNd):
    """[B, C, H, W] to [B, C', H', W']: nn.Conv2d with a randomized Tucker kernel (Eq. 3 and 4)."""

    dense_type = nn.Conv2d
    convolution = F.conv2d


class TuckerConv3d(_TuckerConvNd):
    """[B, C, D, H, W] to [B, C', D', H', W']: nn.Conv3d with a randomized Tucker kernel."""

    dense_type = nn.Conv3d
    convolution = F.conv3d


TYPES: dict[int, type[_TuckerConvNd]] = {1: TuckerConv1d, 2: TuckerConv2d, 3: TuckerConv3d}


def conv_factory(
    *,
    theta: float,
    dimensions: int = 2,
    rank: Rank = "full",
    modes: list[int] | None = None,
    min_dim: int = 1,
    min_keep: int = 1,
    rescale: bool = False,
    init: str = "hosvd",
) -> Callable[..., nn.Module]:
    """A drop-in for nn.Conv2d as a layer factory: same arguments, same initial distribution.

    `dimensions` 1 and 3: for nn.Conv1d and nn.Conv3d.
    """
    tucker = TYPES[dimensions]

    def make(*args: Any, **kwargs: Any) -> nn.Module:
        return tucker.from_conv(
            tucker.dense_type(*args, **kwargs),
            theta,
            rank=rank,
            init=init,
            modes=modes,
            min_dim=min_dim,
            min_keep=min_keep,
            rescale=rescale,
        )

    return make

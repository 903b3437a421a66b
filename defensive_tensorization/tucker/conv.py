"""Convolutions whose kernel is a randomized Tucker tensor, drawn anew at every forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..sketching import eager
from ..sketching.bernoulli import Masks
from ..sketching.draws import draws_in, one_of, spread
from ..system.convolution import laid_out_as, unit_stride
from .drop_in import DropIn
from .paths import factorized, factorized_is_cheaper
from .weight import TuckerWeight

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11


class _TuckerConvNd(DropIn):
    """[B, in_channels, ...] to [B, out_channels, ...], as the dense layer with the drawn kernel.

    At theta = 1 it equals the dense convolution it was made from.
    """

    dense_type: ClassVar[type[nn.modules.conv._ConvNd]]
    convolution: ClassVar[Callable[..., Tensor]]

    geometry: ClassVar[tuple[str, ...]] = tuple(
        "stride padding dilation groups padding_mode".split()
    )

    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str

    def __init__(self, weight: TuckerWeight, bias: Tensor | None, **geometry: Any) -> None:
        super().__init__(weight, bias)
        for name in self.geometry:
            value = geometry[name]
            several = name in ("stride", "padding", "dilation", "output_padding")
            if several and isinstance(value, int):  # as functional code and users write it
                value = (value,) * (weight.ndim - 2)
            setattr(self, name, value)

    @classmethod
    def from_conv(cls, conv: nn.modules.conv._ConvNd, theta: float, **options: Any) -> Self:
        """Start at `conv`; `options` as in TuckerWeight.from_dense."""
        cls._checked(conv)
        layer = cls(
            TuckerWeight.from_dense(conv.weight, theta, **options),
            None if conv.bias is None else conv.bias.detach().clone(),
            **{name: getattr(conv, name) for name in cls.geometry},
        )
        return layer._like(conv)

    @property
    def in_channels(self) -> int:
        return self.weight.shape[1] * self.groups

    @property
    def out_channels(self) -> int:
        return self.weight.shape[0]

    @property
    def kernel_size(self) -> tuple[int, ...]:
        return tuple(self.weight.shape[2:])

    @property
    def transposed(self) -> bool:
        return False

    @property
    def output_padding(self) -> tuple[int, ...]:
        return (0,) * len(self.kernel_size)

    @property
    def _reversed_padding_repeated_twice(self) -> Sequence[int]:
        pads = self._pads(self.kernel_size)
        return pads if isinstance(self.padding, str) else tuple(pads)

    @property
    def shared_draws(self) -> bool:
        """Several draws at once would make a kernel for each: activations cannot take the masks."""
        return self.groups != 1 or any(mode >= 2 for mode in self.weight.sketch.modes)

    def dense(self) -> nn.modules.conv._ConvNd:
        """A plain layer with the full weights (theta = 1)."""
        return cast(nn.modules.conv._ConvNd, self._filled())

    def _empty(self, kernel: Tensor) -> nn.Module:
        return self.dense_type(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            bias=self.bias is not None,
            device=kernel.device,
            dtype=kernel.dtype,
            **{name: getattr(self, name) for name in self.geometry},
        )

    def forward(self, input: Tensor) -> Tensor:  # torch's name for it
        return self._drawn(input)

    def _drawn(self, x: Tensor, **options: Any) -> Tensor:
        """x [B, C, ...] or [C, ...] under what is drawn for it; `options` as _convolve has them."""
        batched = x.ndim == len(self.weight.shape)
        masks = self.weight.draw(x.shape[0] if batched else 1, whole=True)
        if not batched:
            x = x.unsqueeze(0)
        if masks is None or draws_in(masks) is None:
            y = self._under(masks, x, **options)
        else:
            y = self._under_several(masks, x, **options)
        return y if batched else y.squeeze(0)

    def _under(self, masks: Masks | None, x: Tensor, **options: Any) -> Tensor:
        """x [B, C, ...] under one draw, by the cheaper path."""
        if not self._has_kernel(masks) and self._cheaper_factorized(x):
            return self._factorized(masks, x)
        return self._convolve(x, self.weight.kernel(masks), self.bias, **options)

    def _has_kernel(self, masks: Masks | None) -> bool:
        """Whether the kernel of one draw need not be computed."""
        return self.weight.keeps if masks is None else self.weight.made(masks) is not None

    def _under_several(self, masks: Masks, x: Tensor, **options: Any) -> Tensor:
        """Each of as many equal parts of x as there are draws under its own."""
        each = x.shape[0] // (draws_in(masks) or 1)
        if self._takes_masks(masks, x[:each]):
            return self._factorized(spread(masks, each), x)
        if each == 1:
            return self._kernel_each(self.weight.kernel(masks), x, **options)
        parts = enumerate(x.split(each))
        return torch.cat([self._under(one_of(masks, i), part, **options) for i, part in parts])

    def _takes_masks(self, masks: Masks, x: Tensor) -> bool:
        """Whether activations are masked, not kernels made; x: the examples of one of the draws.

        Kernels that are there already are left alone then: of many draws, all are read anew.
        """
        if self.groups != 1 or self.transposed or any(m is not None for m in masks[2:]):
            return False
        return x.shape[0] == 1 or self._cheaper_factorized(x)

    def _factorized(self, masks: Masks | None, x: Tensor) -> Tensor:
        own = masks and (None, None, *masks[2:])
        of_channels = masks[:2] if masks else (None, None)
        return factorized(x, *self.weight.latent(own), of_channels, self.bias, self._convolve)

    def _cheaper_factorized(self, x: Tensor) -> bool:
        """For this input, by operation count; a graph for other sizes has one path."""
        if self.groups != 1 or eager.is_exporting():
            return False
        outputs = inputs = x.shape[0]
        for size, step in zip(x.shape[2:], self.stride, strict=True):
            inputs *= size
            outputs *= -(-size // step)
        return factorized_is_cheaper(
            *(self.weight.core.shape, self.weight.shape, inputs, outputs),
            attack=self.weight.frozen and x.requires_grad,
        )

    def _kernel_each(self, kernels: Tensor, x: Tensor, **options: Any) -> Tensor:
        """kernels [B, n_0, n_1, k...] and x [B, C, ...]: each example under its own kernel."""
        together = x.reshape(1, -1, *x.shape[2:])
        groups = x.shape[0] * self.groups
        y = self._convolve(together, kernels.flatten(0, 1), None, groups=groups, **options)
        y = y.reshape(x.shape[0], -1, *y.shape[2:])
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

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """As torch's layers have it: with another weight."""
        return self._convolve(x, weight.clone(), bias)

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
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
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

"""Transposed convolutions with a randomized Tucker kernel."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ..system.convolution import laid_out_as
from .conv import _TuckerConvNd


class _TuckerConvTransposeNd(_TuckerConvNd):
    """As the dense transposed layer with the drawn kernel [in_channels, out_channels/groups, k...].

    Mode 0 of the core is the input's, mode 1 the output's. The kernel is always reconstructed.
    """

    geometry: ClassVar[tuple[str, ...]] = (*_TuckerConvNd.geometry, "output_padding")
    output_padding: tuple[int, ...] = ()  # each layer has its own; no property as with the others

    @property
    def in_channels(self) -> int:
        return self.weight.shape[0]

    @property
    def out_channels(self) -> int:
        return self.weight.shape[1] * self.groups

    @property
    def transposed(self) -> bool:
        return True

    _output_padding: ClassVar[Any] = nn.modules.conv._ConvTransposeNd._output_padding

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """As the dense layer; `output_size` is that of the output, of all dimensions or the last.

        Raises:
            ValueError: No output has this size.
        """
        if output_size is None:
            return self._drawn(input)
        window, spatial = self.kernel_size, len(self.kernel_size)
        geometry = (self.stride, self.padding, window, spatial, self.dilation)
        added = self._output_padding(input, output_size, *geometry)
        return self._drawn(input, output_padding=tuple(added))

    def _cheaper_factorized(self, x: Tensor) -> bool:
        return False

    def _convolve(
        self,
        x: Tensor,
        kernel: Tensor,
        bias: Tensor | None,
        groups: int | None = None,
        output_padding: tuple[int, ...] | None = None,
    ) -> Tensor:
        convolution: Callable[..., Tensor] = type(self).convolution
        groups = groups or self.groups
        added = self.output_padding if output_padding is None else output_padding
        kernel = laid_out_as(kernel, x)
        return convolution(x, kernel, bias, self.stride, self.padding, added, groups, self.dilation)


class TuckerConvTranspose1d(_TuckerConvTransposeNd):
    """[B, C, L] to [B, C', L']: nn.ConvTranspose1d with a randomized Tucker kernel."""

    dense_type = nn.ConvTranspose1d
    convolution = F.conv_transpose1d


class TuckerConvTranspose2d(_TuckerConvTransposeNd):
    """[B, C, H, W] to [B, C', H', W']: nn.ConvTranspose2d with a randomized Tucker kernel."""

    dense_type = nn.ConvTranspose2d
    convolution = F.conv_transpose2d


class TuckerConvTranspose3d(_TuckerConvTransposeNd):
    """[B, C, D, H, W] to [B, C', D', H', W']: nn.ConvTranspose3d with a random Tucker kernel."""

    dense_type = nn.ConvTranspose3d
    convolution = F.conv_transpose3d

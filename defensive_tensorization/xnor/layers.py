"""Binary layers: Eq. 5, I * W = (sgn(I) (*) sgn(W)) . K alpha, both scales analytic.

    alpha  of a filter: the mean of |W| over its channels and window
    K      of a position: the mean of |I| over channels and window (a box filter)

W are the latent weights, centred over the input channels and clipped to [-1, 1]. Both are part of
the forward, on whatever gives the kernel: a dense parameter, or a tensorized weight, which
sketches and reconstructs first. Padding adds zeros behind the sign: neither product counts them.
"""

from math import prod
from typing import ClassVar, Self, cast

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .sign import convolution, mean_magnitude, sign, sign_of_input


def latent(kernel: Tensor, window: int) -> Tensor:
    """Kernels [..., F, C, k...] of `window` spatial modes, centred over C, then clipped.

    A single channel is not centred, which would leave nothing of it.
    """
    channels = -1 - window
    if kernel.shape[channels] > 1:
        kernel = kernel - kernel.mean(channels, keepdim=True)
    return kernel.clamp(-1, 1)


def binary(kernel: Tensor, window: int, alpha: bool = True) -> Tensor:
    """alpha sgn(W) of kernels [..., F, C, k...]; without alpha, sgn(W)."""
    w = latent(kernel, window)
    signs = sign(w)
    if not alpha:
        return signs
    return signs * w.abs().mean(tuple(range(-1 - window, 0)), keepdim=True)


class XnorConvNd(nn.Module):
    """[B, C, ...] to [B, F, ...], with the geometry of the real layer it was made from.

    weight    a parameter [F, C / groups, k...]; or a module that gives, for a number of examples,
              one such kernel or, [B, F, C / groups, k...], one for each.
    K, alpha  whether the output is scaled by them; without both it is integer.
    """

    window: ClassVar[int]
    geometry: ClassVar[tuple[str, ...]] = ("stride", "padding", "dilation", "groups")

    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def __init__(
        self, weight: nn.Module | nn.Parameter, bias: nn.Parameter | None, *, K: bool, alpha: bool
    ) -> None:
        super().__init__()
        self.weight = weight
        self.bias = bias
        self.K = K
        self.alpha = alpha

    @classmethod
    def from_layer(cls, layer: nn.Module, *, K: bool = True, alpha: bool = True) -> Self:
        """Takes over the parameters of a real layer, dense or tensorized, and their names."""
        mode = getattr(layer, "padding_mode", "zeros")
        if mode != "zeros":
            raise UsageError(f"a binary convolution pads with zeros, got padding_mode={mode!r}")
        made = cls(layer.weight, layer.bias, K=K, alpha=alpha)  # type: ignore[arg-type]
        for name in cls.geometry:
            setattr(made, name, getattr(layer, name))
        return made.train(layer.training)

    def kernel(self, batch: int = 1) -> Tensor:
        """alpha sgn(W), for a random weight under a fresh draw."""
        drawn = self.weight if isinstance(self.weight, Tensor) else self.weight(batch)
        return binary(drawn, self.window, self.alpha)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == self.window + 1:
            return self.forward(x.unsqueeze(0)).squeeze(0)
        return self._under(self.kernel(len(x)), x)

    def _under(self, kernel: Tensor, x: Tensor) -> Tensor:
        signs = sign_of_input(x)
        if kernel.ndim > self.window + 2:  # each example under its own: groups of one convolution
            together = signs.reshape(1, -1, *x.shape[2:])
            y = self._convolve(together, kernel.flatten(0, 1), len(x) * self.groups)
            y = y.reshape(len(x), -1, *y.shape[2:])
        else:
            y = self._convolve(signs, kernel, self.groups)
        if self.K:
            y = y * self._scale(mean_magnitude(x, signs, self.groups), kernel.shape)
        return y if self.bias is None else y + self.bias.view(-1, *[1] * (y.ndim - 2))

    def _scale(self, magnitude: Tensor, kernel: torch.Size) -> Tensor:
        """K, repeated for every filter: a broadcast over channels-last bfloat16 is slow."""
        window = kernel[-self.window :]
        filters = kernel[-2 - self.window]
        box = magnitude.new_full((filters, 1, *window), 1 / prod(window))
        return self._convolve(magnitude, box, self.groups)

    def _convolve(self, x: Tensor, kernel: Tensor, groups: int) -> Tensor:
        return convolution(x)(x, kernel, None, self.stride, self.padding, self.dilation, groups)

    def extra_repr(self) -> str:
        shape = cast(tuple[int, ...], self.weight.shape)
        return f"kernel={'x'.join(map(str, shape))}, K={self.K}, alpha={self.alpha}"


class XnorConv1d(XnorConvNd):
    """[B, C, L] to [B, F, L']."""

    window = 1


class XnorConv2d(XnorConvNd):
    """[B, C, H, W] to [B, F, H', W']."""

    window = 2


class XnorConv3d(XnorConvNd):
    """[B, C, D, H, W] to [B, F, D', H', W']."""

    window = 3


class XnorLinear(XnorConv1d):
    """[B, ..., C] to [B, ..., F]: a convolution over positions with a window of one."""

    geometry = ()
    stride, padding, dilation, groups = (1,), (0,), (1,), 1

    def kernel(self, batch: int = 1) -> Tensor:
        drawn = self.weight if isinstance(self.weight, Tensor) else self.weight(batch)
        return binary(drawn.unsqueeze(-1), self.window, self.alpha)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 1:
            return self.forward(x.unsqueeze(0)).squeeze(0)
        positions = x.unsqueeze(1).flatten(1, -2).mT  # [B, C, positions]
        y = self._under(self.kernel(len(x)), positions)
        return y.mT.reshape(*x.shape[:-1], y.shape[1])

"""Binary layers: Eq. 5, I * W = (sgn(I) (*) sgn(W)) . K alpha, both scales analytic.

    alpha  of a filter: the mean of |W| over its channels and window
    K      of a position: the mean of |I| over channels and window (a box filter)

W are the latent weights, centred over the input channels and clipped to [-1, 1]. Both are part of
the forward, on whatever gives the kernel: a dense parameter, or a tensorized weight, which
sketches and reconstructs first. Padding adds zeros behind the sign: neither product counts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from torch import Tensor, nn

from ..errors import UsageError
from ..replacement import decompose_on_loading
from .geometry import Geometry
from .product import binary_product, binary_weight

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11


class XnorConvNd(nn.Module):
    """[B, C, ...] to [B, F, ...], with the geometry of the real layer it was made from.

    weight    a parameter [F, C / groups, k...]; or a module that gives, for a number of examples,
              one such kernel or, [B, F, C / groups, k...], one for each.
    K, alpha  whether the output is scaled by them; without both it is integer.
    """

    window: ClassVar[int]
    geometry: ClassVar[tuple[str, ...]] = ("stride", "padding", "dilation", "groups")

    stride: tuple[int, ...]
    padding: tuple[int, ...]
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
            value = getattr(layer, name)
            whole = isinstance(value, int) and name != "groups"  # as users write it
            setattr(made, name, (value,) * cls.window if whole else value)
        if isinstance(made.padding, str):
            made.padding = _numbers(made.padding, layer)
        return made.train(layer.training)

    def take_weight(self, weight: nn.Module | nn.Parameter) -> None:
        """Go on with another weight, of the same shape."""
        self._parameters.pop("weight", None)
        self._modules.pop("weight", None)
        self.weight = weight

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: Any, strict: bool, *lists: Any
    ) -> None:
        decompose_on_loading(self, state_dict, prefix, lists[-1])
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, *lists)

    padding_mode: ClassVar[str] = "zeros"
    transposed: ClassVar[bool] = False

    @property
    def in_channels(self) -> int:
        return self._shape[1] * self.groups

    @property
    def out_channels(self) -> int:
        return self._shape[0]

    @property
    def kernel_size(self) -> tuple[int, ...]:
        return self._shape[2:]

    @property
    def output_padding(self) -> tuple[int, ...]:
        return (0,) * self.window

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(cast(Tensor, self.weight).shape)

    def kernel(self, batch: int = 1) -> Tensor:
        """alpha sgn(W), for a random weight under a fresh draw."""
        return binary_weight(self._drawn(batch), self.window, self.alpha)

    @property
    def shared_draws(self) -> bool:
        """Several draws at once would make a kernel for each example."""
        return isinstance(self.weight, nn.Module)  # not a parameter

    def _drawn(self, batch: int) -> Tensor:
        weight = self.weight
        return weight if isinstance(weight, Tensor) else cast(Tensor, weight(batch))

    def forward(self, input: Tensor) -> Tensor:  # torch's name for it
        x = input
        if x.ndim == self.window + 1:
            return XnorConvNd.forward(self, x.unsqueeze(0)).squeeze(0)
        kernel = self.kernel(x.shape[0])
        groups = self.groups
        together = x
        own = kernel.ndim > self.window + 2
        if own:  # each example under its own kernel: the groups of one convolution
            together, groups = x.reshape(1, -1, *x.shape[2:]), x.shape[0] * groups
            kernel = kernel.flatten(0, 1)
        geometry = Geometry(self.stride, self.padding, self.dilation, groups)
        y = binary_product(together, kernel, geometry, self.K)
        if own:
            y = y.reshape(x.shape[0], -1, *y.shape[2:])
        return y if self.bias is None else y + self.bias.to(y.dtype).view(-1, *[1] * (y.ndim - 2))

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

    @property
    def in_features(self) -> int:
        return self._shape[1]

    @property
    def out_features(self) -> int:
        return self._shape[0]

    def _drawn(self, batch: int) -> Tensor:
        return super()._drawn(batch).unsqueeze(-1)

    def forward(self, input: Tensor) -> Tensor:  # torch's name for it
        x = input
        if x.ndim == 1:
            return self.forward(x.unsqueeze(0)).squeeze(0)
        y = super().forward(x.unsqueeze(1).flatten(1, -2).mT)  # [B, C, positions]
        return y.mT.reshape(*x.shape[:-1], y.shape[1])


def _numbers(padding: str, layer: Any) -> tuple[int, ...]:
    """What "same" and "valid" mean for the layer."""
    total = [d * (k - 1) for d, k in zip(layer.dilation, layer.weight.shape[2:], strict=True)]
    if padding == "same" and any(t % 2 for t in total):
        raise UsageError("padding='same' with an even window pads unevenly: pad before the layer")
    return tuple(t // 2 if padding == "same" else 0 for t in total)

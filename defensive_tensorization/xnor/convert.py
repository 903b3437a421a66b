"""Binary layers from real ones, in any architecture, dense or tensorized."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from torch import nn

from ..errors import UsageError
from .layers import XnorConv1d, XnorConv2d, XnorConv3d, XnorConvNd, XnorLinear

M = TypeVar("M", bound=nn.Module)

LAYERS: dict[Any, type[XnorConvNd]] = {
    nn.Conv1d: XnorConv1d,
    nn.Conv2d: XnorConv2d,
    nn.Conv3d: XnorConv3d,
    nn.Linear: XnorLinear,
}


def binary_layer(layer: nn.Module, *, K: bool = True, alpha: bool = True) -> nn.Module:
    """The binary form of a real layer, dense or tensorized, over the same parameters."""
    kind = LAYERS.get(_dense_type(layer))
    if kind is None:
        raise UsageError(
            f"{type(layer).__name__} has no binary form: there are those of "
            f"{', '.join(each.__name__ for each in LAYERS)}, dense or tensorized"
        )
    return kind.from_layer(layer, K=K, alpha=alpha)


def binarize(
    model: M, *, exclude: Iterable[str] | None = None, K: bool = True, alpha: bool = True
) -> M:
    """Make a model's convolutions and linear layers binary, in place; tensorize it before.

    exclude  names or glob patterns of layers that stay real; default: the first and the last.

    Only layers are replaced. The order that trains, BatchNorm, then the binary layer, without a
    ReLU between, is the architecture's own business: `precision=xnor` has it for our networks.
    """
    layers = {name: each for name, each in model.named_modules() if _dense_type(each) in LAYERS}
    names = list(layers)
    patterns = [names[0], names[-1]] if exclude is None and names else list(exclude or ())
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(
                f"no layer matches {pattern!r}: there are {', '.join(names) or 'none'}"
            )
    made = {
        layer: binary_layer(layer, K=K, alpha=alpha)
        for name, layer in layers.items()
        if not any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    if not made:
        raise UsageError(f"{type(model).__name__} has no layer to make binary")
    for parent in model.modules():
        for child_name, child in parent._modules.items():  # a shared layer has several names
            if child in made:
                setattr(parent, child_name, made[child])
    return model


def _dense_type(layer: nn.Module) -> Any:
    """The layer's own type, or that of the dense layer which a tensorized one stands for."""
    return getattr(layer, "dense_type", type(layer))

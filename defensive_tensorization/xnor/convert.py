"""Binary layers from real ones, in any architecture, dense or tensorized."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from glob import escape as literal
from typing import Any, TypeVar

from torch import nn

from ..errors import UsageError
from ..replacement import (
    Choice,
    Left,
    Selector,
    audit,
    choose,
    refuse_wrappers,
    replace,
    warn_of_outsiders,
)
from ..replacement.kinds import read_by_parent
from .layers import XnorConv1d, XnorConv2d, XnorConv3d, XnorConvNd, XnorLinear

M = TypeVar("M", bound=nn.Module)

LAYERS: dict[Any, type[XnorConvNd]] = {
    nn.Conv1d: XnorConv1d,
    nn.Conv2d: XnorConv2d,
    nn.Conv3d: XnorConv3d,
    nn.Linear: XnorLinear,
}

UNSUPPORTED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


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
    model: M, *, exclude: Iterable[Selector] | None = None, K: bool = True, alpha: bool = True
) -> M:
    """Make a model's convolutions and linear layers binary, in place; tensorize it before.

    Only layers are replaced. The order that trains, BatchNorm, then the binary layer, without a
    ReLU between, is the architecture's own business: `precision=xnor` has it for our networks.
    The binary layers keep the parameters, so ties, freezing and optimizers stay, and so does what
    hangs on a layer (see `tensorize`). `model.binarization.left` and one warning name the layers
    that have no binary form and stay real.

    Args:
        model: any module that holds convolutions or linear layers.
        exclude: names, glob patterns or types of layers that stay real; default: the first and
            last.
        K: whether each position is scaled by the mean of |input| under the window (Eq. 5).
        alpha: whether each filter is scaled by the mean of its |weights|.

    Raises:
        UsageError: Nothing to make binary; an unknown name; a layer with something on it that
            would be lost. The model is as before.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"binarize takes a torch.nn.Module, got {type(model).__name__}")
    refuse_wrappers(model)
    choice = _chosen(model, exclude)
    if not choice.layers:
        because = "".join(f"; {each}" for each in choice.left[:4])
        raise UsageError(f"{type(model).__name__} has no layer to make binary{because}")
    dense = {layer: _dense_type(layer) for layer in choice.layers.values()}
    new = {layer: LAYERS[kind] for layer, kind in dense.items()}
    found = audit(model, choice.layers, new, same_weights=True)
    made: dict[nn.Module, nn.Module] = {}
    for name, layer in choice.layers.items():
        try:
            made[layer] = binary_layer(layer, K=K, alpha=alpha)
        except UsageError as error:
            raise UsageError(f"layer '{name}': {error}; or exclude=[{name!r}]") from None
    result = replace(model, made, found, {m: _plain_type(m) for m in made}, same_weights=True)
    result.binarization = Binarization(tuple(choice.layers), choice.left)  # type: ignore[assignment]
    choice.warn("binarize", "binarization")
    warn_of_outsiders("binarize", result, choice.layers)
    return result


@dataclass(frozen=True)
class Binarization:
    """What `binarize` did: the names of the binary layers, and those that stay real and why."""

    layers: tuple[str, ...]
    left: tuple[Left, ...]


def _chosen(model: nn.Module, exclude: Iterable[Selector] | None) -> Choice:
    modules = dict(model.named_modules())
    kinds = {n: _plain_type(m) for n, m in modules.items() if _dense_type(m) in LAYERS}
    unsupported = _read_raw(model, modules, kinds)
    for name, module in modules.items():
        if isinstance(module, UNSUPPORTED) or getattr(module, "dense_type", None) in UNSUPPORTED:
            unsupported[name] = f"is a {type(module).__name__}, which has no binary form"
    names = list(kinds)
    ends = [literal(name) for name in (*names[:1], *names[-1:])]
    return choose(
        *(model, kinds, ["*"], ends if exclude is None else exclude),
        silent=True,
        unsupported=unsupported,
    )


def _read_raw(
    model: nn.Module, modules: Mapping[str, nn.Module], kinds: Mapping[str, Any]
) -> dict[str, str]:
    """Layers whose parent takes their weight past their forward: it would find the real one."""
    return {
        name: f"has a parent, {type(parent).__name__}, that reads its weight past its forward"
        for name in kinds
        if name
        for parent in [modules[name.rpartition(".")[0]]]
        if read_by_parent(parent, name.rpartition(".")[2])
    }


def _plain_type(layer: nn.Module) -> Any:
    """What a subclass is measured against: the tensorized type itself, or the dense type."""
    return type(layer) if hasattr(layer, "dense_type") else _dense_type(layer)


def _dense_type(layer: nn.Module) -> Any:
    """The dense type of a layer, or that which a tensorized one stands for; None: neither."""
    if hasattr(layer, "dense_type"):
        return layer.dense_type
    return next((kind for kind in LAYERS if isinstance(layer, kind)), None)

"""Any architecture, in one call: replace its convolutions by randomized Tucker ones."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils.parametrize import is_parametrized

from ..errors import UsageError
from .conv import TuckerConv1d, TuckerConv2d, TuckerConv3d
from .decompose import Rank, resolve_rank
from .linear import TuckerLinear
from .transposed import TuckerConvTranspose1d, TuckerConvTranspose2d, TuckerConvTranspose3d
from .weight import TuckerWeight

M = TypeVar("M", bound=nn.Module)
Selector = str | type[nn.Module]

LAYERS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Conv1d: TuckerConv1d.from_conv,
    nn.Conv2d: TuckerConv2d.from_conv,
    nn.Conv3d: TuckerConv3d.from_conv,
    nn.ConvTranspose1d: TuckerConvTranspose1d.from_conv,
    nn.ConvTranspose2d: TuckerConvTranspose2d.from_conv,
    nn.ConvTranspose3d: TuckerConvTranspose3d.from_conv,
    nn.Linear: TuckerLinear.from_linear,
}
CONVOLUTIONS = tuple(kind for kind in LAYERS if kind is not nn.Linear)


@dataclass(frozen=True)
class Layer:
    """What became of one layer; `error` is ||W - reconstruction|| / ||W||."""

    name: str
    shape: tuple[int, ...]
    ranks: tuple[int, ...]
    sketched: tuple[int, ...]
    parameters_before: int
    parameters_after: int
    error: float


@dataclass(frozen=True)
class Report:
    """What `tensorize` did; its text is a table."""

    theta: float
    layers: tuple[Layer, ...]

    def __str__(self) -> str:
        lines = [("layer", "kernel", "core", "sketched modes", "parameters", "error")]
        for layer in self.layers:
            lines.append(
                (
                    layer.name or "(the model itself)",
                    "x".join(map(str, layer.shape)),
                    "x".join(map(str, layer.ranks)),
                    ",".join(map(str, layer.sketched)) or "none",
                    f"{layer.parameters_before:,} -> {layer.parameters_after:,}",
                    f"{layer.error:.1e}",
                )
            )
        before = sum(layer.parameters_before for layer in self.layers)
        after = sum(layer.parameters_after for layer in self.layers)
        lines.append((f"{len(self.layers)} layers", "", "", "", f"{before:,} -> {after:,}", ""))
        widths = [max(len(line[i]) for line in lines) for i in range(6)]
        rows = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([f"tensorized at theta = {self.theta:g}", *rows])


def tensorize(
    model: M,
    *,
    theta: float,
    rank: Rank = "full",
    modes: Sequence[int] | None = None,
    min_dim: int = 1,
    min_keep: int = 1,
    rescale: bool = False,
    include: Iterable[Selector] | None = None,
    exclude: Iterable[Selector] | None = None,
    init: str = "hosvd",
) -> M:
    """Replace layers in place and return the model; at theta = 1 (full rank) it computes the same.

    theta     probability of keeping a component of a core's mode, in (0, 1].
    rank      "full" (exact), a fraction of every mode, or "same" (as many parameters as before).
    modes     which modes are sketched: 0 output channels, 1 input channels, 2... the window.
    min_dim   modes of this size or smaller are not sketched.
    min_keep  at least so many components of a mode survive a draw.
    rescale   divide a drawn kernel by the probability of being kept (Eq. 4 does not).
    include   layer names, glob patterns or types; default: every convolution,
              transposed ones too.
              Linear layers are replaced only when they are included.
    exclude   the same, taken out again.
    init      "hosvd" or "random": the basis of the latent space (see `decompose`).

    `model.tensorization` is the Report of what was done. A layer used twice stays one layer.
    UsageError: nothing to replace, a lazy, parametrized or tensorized layer, an unknown name.
    """
    if not 0 < theta <= 1:
        raise UsageError(f"theta must lie in (0, 1], got {theta}: 1 keeps every component")
    for name, module in model.named_modules():
        if isinstance(module, TuckerWeight):
            raise UsageError(
                f"layer '{name.rpartition('.')[0]}' is tensorized already: start from a dense model"
            )
    chosen = _chosen(model, include, exclude)
    if not chosen:
        raise UsageError(
            f"{type(model).__name__} has no layer to tensorize: it needs a convolution, or "
            "Linear layers named in include"
        )
    options: dict[str, Any] = {
        "modes": modes,
        "min_dim": min_dim,
        "min_keep": min_keep,
        "rescale": rescale,
    }
    for name, module in chosen.items():
        _refuse_unready(name, module)
        resolve_rank(tuple(module.weight.shape), rank)  # type: ignore[arg-type]
    made: dict[nn.Module, nn.Module] = {}
    layers = []
    for name, module in chosen.items():
        layer = LAYERS[type(module)](module, theta, rank=rank, init=init, **options)
        made[module] = layer
        layers.append(_described(name, module, layer))
    for parent in model.modules():
        for child_name, child in parent._modules.items():  # a shared layer has several names
            if child in made:
                setattr(parent, child_name, made[child])
    result = cast(M, made.get(model, model))
    result.tensorization = Report(theta, tuple(layers))  # type: ignore[assignment]
    return result


def _chosen(
    model: nn.Module, include: Iterable[Selector] | None, exclude: Iterable[Selector] | None
) -> dict[str, nn.Module]:
    """The layers to replace, by their first name."""
    layers = {
        n: m for n, m in model.named_modules() if type(m) in LAYERS or _lazy(m) or _parametrized(m)
    }
    wanted = _matching(layers, CONVOLUTIONS if include is None else include, include is None)
    for name in _matching(layers, exclude or (), False):
        wanted.pop(name, None)
    return wanted


def _matching(
    layers: dict[str, nn.Module], selectors: Iterable[Selector], silent: bool
) -> dict[str, nn.Module]:
    if isinstance(selectors, str):
        raise UsageError(
            f"include and exclude are lists, got the string {selectors!r}: write [{selectors!r}]"
        )
    found: dict[str, nn.Module] = {}
    for selector in selectors:
        if isinstance(selector, str):
            hits = {n: m for n, m in layers.items() if fnmatchcase(n, selector)}
        else:
            hits = {n: m for n, m in layers.items() if isinstance(m, selector)}
        if not hits and not silent:
            raise UsageError(
                f"no layer matches {selector!r}: there are {_shortened(list(layers)) or 'none'}"
            )
        found |= hits
    return {n: m for n, m in layers.items() if n in found}  # in the model's order


def _refuse_unready(name: str, module: nn.Module) -> None:
    if _lazy(module):
        raise UsageError(f"layer '{name}' is lazy and has no weights yet: run the model once first")
    if _parametrized(module):
        raise UsageError(
            f"layer '{name}' is parametrized (weight or spectral norm, say): remove that first "
            "with torch.nn.utils.parametrize.remove_parametrizations"
        )


def _lazy(module: nn.Module) -> bool:
    return isinstance(module, LazyModuleMixin)


def _parametrized(module: nn.Module) -> bool:
    return isinstance(module, tuple(LAYERS)) and is_parametrized(module)


def _described(name: str, dense: nn.Module, layer: nn.Module) -> Layer:
    weight = cast(TuckerWeight, layer.weight)
    kernel = cast(Tensor, dense.weight).detach()
    size = kernel.norm().clamp_min(torch.finfo(kernel.dtype).tiny)
    return Layer(
        name,
        weight.shape,
        tuple(weight.core.shape),
        weight.sketch.modes,
        sum(p.numel() for p in dense.parameters()),
        sum(p.numel() for p in layer.parameters()),
        float((weight.kernel(None).detach() - kernel).norm() / size),
    )


def _shortened(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

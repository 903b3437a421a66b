"""Any architecture, in one call: replace its convolutions by randomized Tucker ones."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..replacement import (
    Choice,
    Selector,
    audit,
    choose,
    refuse_wrappers,
    replace,
    warn_of_outsiders,
)
from .conv import TuckerConv1d, TuckerConv2d, TuckerConv3d
from .decompose import Rank, resolve_rank
from .linear import TuckerLinear
from .report import Layer, Report
from .transposed import TuckerConvTranspose1d, TuckerConvTranspose2d, TuckerConvTranspose3d
from .weight import TuckerWeight

M = TypeVar("M", bound=nn.Module)

TUCKER: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: TuckerConv1d,
    nn.Conv2d: TuckerConv2d,
    nn.Conv3d: TuckerConv3d,
    nn.ConvTranspose1d: TuckerConvTranspose1d,
    nn.ConvTranspose2d: TuckerConvTranspose2d,
    nn.ConvTranspose3d: TuckerConvTranspose3d,
    nn.Linear: TuckerLinear,
}
CONVOLUTIONS = tuple(kind for kind in TUCKER if kind is not nn.Linear)


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

    `model.tensorization` is the Report of what was done. A layer used twice stays one layer.
    Hooks, attributes, frozen and tied parameters, and lists that hold a layer stay with it.
    Layers with a forward of their own (subclasses, parametrizations, pruning masks) stay dense:
    the report and one warning name them. Make optimizers, and wrap the model for several devices,
    after this call: an optimizer made before would train the old weights, and a warning says so.

    Args:
        model: any module that holds convolutions.
        theta: probability of keeping a component of a core's mode, in (0, 1].
        rank: "full" (exact), a fraction in (0, 1] of every mode, or "same" (as many parameters as
            before). 1 is the whole of every mode, as "full", and not rank one.
        modes: which modes are sketched: 0 output channels, 1 input channels, 2... the window.
        min_dim: modes of this size or smaller are not sketched.
        min_keep: at least so many components of a mode survive a draw.
        rescale: divide a drawn kernel by the probability of being kept (Eq. 4 does not).
        include: layer names, glob patterns or types; default: every convolution, transposed ones
            too. Linear layers are replaced only when they are included.
        exclude: the same, taken out again.
        init: "hosvd" or "random": the basis of the latent space (see `decompose`).

    Raises:
        UsageError: Nothing to replace; a lazy or tensorized layer; an argument out of range; an
            unknown name; a layer with something on it that would be lost. The model is as before.
    """
    _check_arguments(model, theta, modes, min_dim, min_keep, rescale)
    refuse_wrappers(model)
    for name, module in model.named_modules():
        if isinstance(module, TuckerWeight):
            raise UsageError(
                f"layer '{name.rpartition('.')[0]}' is tensorized already: start from a dense model"
            )
    choice = _chosen(model, include, exclude)
    options: dict[str, Any] = {
        **{"rank": rank, "init": init, "modes": modes},
        **{"min_dim": min_dim, "min_keep": min_keep, "rescale": rescale},
    }
    dense = {module: _dense_type(module) for module in choice.layers.values()}
    found = audit(model, choice.layers, {m: TUCKER[kind] for m, kind in dense.items()})
    made: dict[nn.Module, nn.Module] = {}
    tied: dict[int, TuckerWeight] = {}
    layers = []
    for name, module in choice.layers.items():
        resolve_rank(tuple(module.weight.shape), rank)  # type: ignore[arg-type]
        layer = _made(name, module, dense[module], theta, options)
        layer.weight = tied.setdefault(id(module.weight), cast(TuckerWeight, layer.weight))
        made[module] = layer
        layers.append(_described(name, module, layer))
    result = replace(model, made, found, dense)
    result.tensorization = Report(  # type: ignore[assignment]
        float(theta), tuple(layers), choice.left
    )
    choice.warn("tensorize", "tensorization")
    sketches = [weight.sketch for weight in tied.values()]
    if theta < 1 and not any(s.shape[m] > min_keep for s in sketches for m in s.modes):
        warnings.warn(
            f"tensorize left no layer random at theta = {theta:g} with modes={modes}, min_dim="
            f"{min_dim} and min_keep={min_keep}: every draw keeps every component; sketch more "
            "modes, lower min_dim or min_keep, or say theta=1",
            stacklevel=2,
        )
    warn_of_outsiders("tensorize", result, choice.layers)
    return result


def _check_arguments(
    model: Any, theta: Any, modes: Any, min_dim: Any, min_keep: Any, rescale: Any
) -> None:
    if not isinstance(model, nn.Module):
        raise UsageError(f"tensorize takes a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(theta, Real) or isinstance(theta, bool):
        raise UsageError(f"theta must be a number in (0, 1], got {theta!r}")
    if not 0 < float(theta) <= 1:
        raise UsageError(f"theta must lie in (0, 1], got {theta}: 1 keeps every component")
    for name, value in (("min_dim", min_dim), ("min_keep", min_keep)):
        if not isinstance(value, Integral):
            raise UsageError(f"{name} must be a whole number, got {value!r}")
    if not isinstance(rescale, bool):
        raise UsageError(f"rescale must be True or False, got {rescale!r}: write rescale=True")
    if modes is not None:
        whole = isinstance(modes, Iterable) and all(isinstance(m, Integral) for m in modes)
        if not whole:
            raise UsageError(f"modes must be a list of whole numbers, as [0, 1], got {modes!r}")


def _chosen(
    model: nn.Module, include: Iterable[Selector] | None, exclude: Iterable[Selector] | None
) -> Choice:
    modules = dict(model.named_modules())
    kinds = {n: _dense_type(m) for n, m in modules.items() if isinstance(m, tuple(TUCKER))}
    foreign = {n: reason for n, m in modules.items() if n not in kinds and (reason := _foreign(m))}
    wanted: Iterable[Selector] = (
        (*CONVOLUTIONS, *{type(modules[n]) for n in foreign}) if include is None else include
    )
    choice = choose(
        *(model, kinds, wanted, exclude or ()), silent=include is None, unsupported=foreign
    )
    if not choice.layers:
        because = "".join(f"; {each}" for each in choice.left[:4])
        raise UsageError(
            f"{type(model).__name__} has no layer to tensorize: it needs a convolution, or "
            f"Linear layers named in include{because}"
        )
    return choice


def _dense_type(module: Any) -> type[nn.Module]:
    return next(kind for kind in TUCKER if isinstance(module, kind))


def _foreign(module: nn.Module) -> str | None:
    """Why a convolution that is none of torch.nn's stays dense; None: it is no convolution."""
    weight = module._parameters.get("weight")
    if "conv" not in type(module).__name__.lower() or weight is None or weight.ndim < 3:
        return None
    known = ", ".join(kind.__name__ for kind in CONVOLUTIONS)
    return f"is a {type(module).__name__}: only {known} have a tensorized form"


def _made(
    name: str, module: nn.Module, dense: type[nn.Module], theta: float, options: dict[str, Any]
) -> nn.Module:
    build = cast(Any, TUCKER[dense])
    make: Callable[..., nn.Module] = build.from_linear if dense is nn.Linear else build.from_conv
    try:
        return make(module, theta, **options)
    except UsageError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        shape = list(cast(Tensor, module.weight).shape)
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"layer '{name}' with a weight of shape {shape} cannot be decomposed ({reason}): "
            f"leave it dense with exclude=[{name!r}]"
        ) from error


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

"""BatchNorm under random kernels, for anybody's model and loop: docs/batchnorm.md."""

import warnings

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin

from ..errors import UsageError
from .batchnorm import (
    DrawBatchNorm1d,
    DrawBatchNorm2d,
    DrawBatchNorm3d,
    Recalibrated,
    _DrawBatchNorm,
)

_KINDS: dict[type, type[_DrawBatchNorm]] = {
    nn.BatchNorm1d: DrawBatchNorm1d,
    nn.BatchNorm2d: DrawBatchNorm2d,
    nn.BatchNorm3d: DrawBatchNorm3d,
}
_HARMLESS = frozenset(
    "__init__ __module__ __doc__ __qualname__ __annotations__ __constants__ __parameters__ "
    "__orig_bases__ __static_attributes__ __firstlineno__ __repr__ extra_repr "
    "reset_parameters".split()
)
"""What a subclass may define and still compute what plain BatchNorm computes."""

_NAMED = 4  # layers in one message


def recalibrate(net: nn.Module, reference: Tensor) -> Recalibrated:
    """Normalise, in evaluation, by what the reference examples meet under the very draw in use.

    Training is as before, by the statistics of its batches. In evaluation the reference passes
    before every batch, under the draws of this project's layers that the batch meets; other
    sources of randomness (dropout that is left on, noise) draw anew for it. The mode of the
    BatchNorm layers decides: `net.eval()` does the same as `eval()` of the returned model.

    A BatchNorm layer with a forward of its own (a subclass, SyncBatchNorm) keeps its stored
    averages; one warning names it.

    Args:
        net: a model, whose BatchNorm layers are changed in place: they stay the same objects, so
            whoever holds a layer or a parameter (a list, an optimizer) goes on working.
        reference: training examples [R, C, ...], as the model takes them; 128 are plenty.

    Returns:
        The model, wrapped: its `network` is `net`. The reference is no part of its state_dict.

    Raises:
        UsageError: for a reference that is no batch, or a model that has no BatchNorm to change.
            Forwards in evaluation raise it where they do not call the same BatchNorm layers.
    """
    if not isinstance(reference, Tensor) or reference.ndim < 2 or len(reference) < 2:
        found = [*reference.shape] if isinstance(reference, Tensor) else type(reference).__name__
        raise UsageError(
            "the reference must be training examples [R, C, ...], at least 2, got "
            f"{found}: such as the first 128"
        )
    if isinstance(net, Recalibrated):
        net = net.network
    norms = {name: m for name, m in net.named_modules() if isinstance(m, _BatchNorm)}
    reasons = {name: reason for name, norm in norms.items() if (reason := _kept(name, norm))}
    left = "; ".join([f"layer '{name}' {reason}" for name, reason in reasons.items()][:_NAMED])
    left += f" and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
    advice = (
        "only plain nn.BatchNorm1d, 2d and 3d are recalibrated: use one, and put what a subclass "
        "adds in a layer behind it"
    )
    if not norms:
        raise UsageError(
            f"{type(net).__name__} has no BatchNorm to recalibrate: use it as it is (fold none of "
            "its layers before)"
        )
    if len(reasons) == len(norms):
        raise UsageError(
            f"{type(net).__name__} has no BatchNorm that recalibrate can change: {left}; {advice}"
        )
    device = next((p.device for p in net.parameters()), reference.device)
    made = Recalibrated(net, reference.detach().clone().to(device)).train(net.training)
    for name, norm in norms.items():
        if name not in reasons and not isinstance(norm, _DrawBatchNorm):
            _put_under_draws(norm)
    if reasons:
        warnings.warn(
            f"recalibrate left {len(reasons)} of the model's {len(norms)} BatchNorm layers on "
            f"their stored averages, which fit no draw: {left}; {advice}",
            stacklevel=2,
        )
    return made


def _kept(name: str, norm: _BatchNorm) -> str | None:
    """Why a layer keeps its stored averages; None: it need not."""
    if isinstance(norm, _DrawBatchNorm):
        return None
    if isinstance(norm, LazyModuleMixin):
        raise UsageError(f"layer '{name}' is lazy and has no weights yet: run the model once first")
    kind, plain = type(norm), _plain(norm)
    if plain is None:
        return f"is a {kind.__name__}"
    if "forward" in vars(norm):
        return "has a forward of its own, set on the object"
    own = {n for each in kind.__mro__ if each not in plain.__mro__ for n in vars(each)} - _HARMLESS
    if own:
        return f"is a {kind.__name__}, a {plain.__name__} with its own {', '.join(sorted(own))}"
    return None


def _plain(norm: nn.Module) -> type | None:
    return next((kind for kind in _KINDS if isinstance(norm, kind)), None)


def _put_under_draws(norm: _BatchNorm) -> None:
    """Change the class of a layer: whoever holds the layer, in a list or a closure, sees it."""
    kind = _plain(norm)
    assert kind is not None  # _kept named the others
    made = _KINDS[kind](1)
    vars(norm).update({n: vars(made)[n] for n in ("handling", "shared_draws", "moments")})
    norm.__class__ = type(made)

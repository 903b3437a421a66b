"""BatchNorm under random kernels, for anybody's model and loop: docs/batchnorm.md."""

from torch import Tensor, nn

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


def recalibrate(net: nn.Module, reference: Tensor) -> Recalibrated:
    """Normalise, in evaluation, by what the reference examples meet under the very draw in use.

    Training is as before, by the statistics of its batches. In evaluation the reference passes
    before every batch, under the draws of this project's layers that the batch meets; other
    sources of randomness (dropout that is left on, noise) draw anew for it.

    Args:
        net: a model, whose BatchNorm layers are replaced in place; their parameters and buffers
            are the same objects, so an optimizer made before goes on working.
        reference: training examples [R, C, ...], as the model takes them; 128 are plenty.

    Returns:
        The model, wrapped: its `network` is `net`. The reference is no part of its state_dict.

    Raises:
        UsageError: for a reference that is no batch, or a model that has no BatchNorm.
    """
    if not isinstance(reference, Tensor) or reference.ndim < 2 or len(reference) < 2:
        found = [*reference.shape] if isinstance(reference, Tensor) else type(reference).__name__
        raise UsageError(
            "the reference must be training examples [R, C, ...], at least 2, got "
            f"{found}: such as the first 128"
        )
    if isinstance(net, Recalibrated):
        net = net.network
    made: dict[nn.Module, nn.Module] = {}  # a layer in two places stays one
    for parent in [*net.modules()]:
        for name, child in parent._modules.items():
            if type(child) in _KINDS and child is not None:
                made.setdefault(child, _under_draws(child))
                parent._modules[name] = made[child]
    if not any(isinstance(module, _DrawBatchNorm) for module in net.modules()):
        raise UsageError(
            f"{type(net).__name__} has no BatchNorm to recalibrate: use it as it is (fold none of "
            "its layers before)"
        )
    device = next((p.device for p in net.parameters()), reference.device)
    return Recalibrated(net, reference.detach().to(device)).train(net.training)


def _under_draws(norm: nn.Module) -> _DrawBatchNorm:
    """The same layer, with its own parameters, buffers and hooks."""
    made = _KINDS[type(norm)](1)
    added = {name: vars(made)[name] for name in ("handling", "shared_draws", "moments")}
    vars(made).clear()
    vars(made).update({**vars(norm), **added})
    return made

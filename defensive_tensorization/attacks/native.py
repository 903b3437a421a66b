"""l-infinity steps on the network's own device, without a library: for attacks inside training."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Bounds = tuple[float, float]
"""The lowest and the highest amplitude that an input may have."""


def ascend(
    model: nn.Module,
    start: Tensor,
    x: Tensor,
    y: Tensor,
    bounds: Bounds,
    *,
    radius: float,
    step_size: float,
    steps: int,
) -> Tensor:
    """Eq. 2 from `start`: steps along the sign of the cross-entropy's gradient.

    Each is projected onto the ball of `radius` around x [B, ...] and onto `bounds`, all of them
    amplitudes. Gradients of the weights are neither needed nor made.
    """
    now = start.detach()
    for _ in range(steps):
        now = now + step_size * gradient(model, now, y).sign()
        now = project(now, x, radius, bounds)
    return now


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Of the summed cross-entropy by x."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        loss = F.cross_entropy(model(x).float(), y, reduction="sum")
        return torch.autograd.grad(loss, x)[0]


def project(now: Tensor, x: Tensor, radius: float, bounds: Bounds) -> Tensor:
    """Onto the ball around x, then onto the bounds."""
    return (x + (now - x).clamp(-radius, radius)).clamp(*bounds)

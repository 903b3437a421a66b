"""Inputs beside the given ones, as attacks ask a model about."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGES = 4


def near(
    model: nn.Module, x: Tensor, y: Tensor, radius: float, bounds: tuple[float, float]
) -> Tensor:
    """Up to 8 inputs in the ball of a radius around the first of x [B, ...], within the bounds.

    One half lies at random corners. The other half lies along the sign of the loss's gradient, each
    further away than the one before: a defence may be random only where the model is unsure.
    """
    x, y = x[:IMAGES].detach(), y[:IMAGES]
    made = torch.Generator().manual_seed(0)
    corners = signs(x, made)
    slope = _slope(model, x, y).sign()
    share = torch.linspace(0, 1, len(x) + 1)[1:].to(x).view(-1, *[1] * (x.ndim - 1))
    uphill = torch.where(slope.abs() > 0, slope, corners)
    return torch.cat([x + radius * corners, x + share * radius * uphill]).clamp(*bounds)


def signs(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """1 or -1 at random, in the shape and type of x; None: by torch's generator of x's device."""
    device = generator.device if generator else x.device
    return (torch.randint(2, x.shape, generator=generator, device=device) * 2 - 1).to(x)


def _slope(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The gradient [B, ...] of the cross-entropy; zero where the model has none."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.clone().requires_grad_()
        logits = model(leaf.clone())
        if not logits.requires_grad:
            return torch.zeros_like(x)
        loss = F.cross_entropy(logits.float(), y, reduction="sum")
        [found] = torch.autograd.grad(loss, leaf, allow_unused=True)
    return torch.zeros_like(x) if found is None else found

"""One warning where the attacks of an evaluation follow gradients that vanish or are NaN.

In float16, numbers below 6e-8 become zero: attacks that follow such gradients find nothing, and
the model looks robust. The same happens where logits are so large that the loss is flat, and at
pixels whose slope is NaN, such as that of sqrt(x²) at zero.
"""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..randomness import seeded
from .check import ERROR
from .checks import BLIND, vanishing

IMAGES, BATCH = 64, 8  # asked about, and at a time: more may not fit beside their gradients
DRAWS = 3  # an image is blind if its gradient vanishes in each
SCALE = 2.0**10  # of the loss: entries that are zero without it have underflowed


def warn_of_lost_gradients(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Warn if gradients of the loss by the images x [B, ...] vanish, wholly or in part.

    The rule for whole images is that of the audit's check *vanishing*. A model without a gradient
    by its inputs is refused elsewhere.
    """
    x, y = x[:IMAGES], y[:IMAGES]
    blind = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for draw in range(DRAWS):
        with seeded(model, draw, "lost gradients"):
            found = _gradient(model, x, y, 1.0)
        if found is None:
            return
        usable = (found != 0) & found.isfinite()
        blind &= ~usable.flatten(1).any(1)
        if draw == 0:
            first = found
        if not blind.any():
            break
    check = vanishing(blind.cpu().numpy(), ERROR)
    if check.status == "fail":
        _warn(f"vanish or are infinite at {int(blind.sum())} of {len(x)} images")
        return
    with seeded(model, 0, "lost gradients"):
        scaled = _gradient(model, x, y, SCALE)
    assert scaled is not None
    there = scaled != 0
    without = (first == 0) | first.isnan()
    lost = float((there & without).sum()) / max(1.0, float(there.sum()))
    if lost > BLIND:
        _warn(f"have underflowed to zero, or are NaN, in {lost:.0%} of their entries")


def _gradient(model: nn.Module, x: Tensor, y: Tensor, scale: float) -> Tensor | None:
    """The gradient [B, ...] of `scale` times the cross-entropy, as attacks compute it."""
    found = []
    for at, of in zip(x.split(BATCH), y.split(BATCH), strict=True):
        with torch.inference_mode(False), torch.enable_grad():
            leaf = at.clone().requires_grad_()
            logits = model(leaf.clone())
            if not logits.requires_grad:
                return None
            loss = F.cross_entropy(logits, of, reduction="none")
            [slope] = torch.autograd.grad(
                loss, leaf, torch.full_like(loss, scale), allow_unused=True
            )
        if slope is None:
            return None
        found.append(slope)
    return torch.cat(found)


def _warn(what: str) -> None:
    warnings.warn(
        f"the gradients of the loss {what} (at most {BLIND:.0%} are to be expected): attacks that "
        "follow gradients may find too little, and the accuracies may be too high; evaluate the "
        "model in float32, let it return logits of a usual scale, add a small constant below a "
        "root, and see what dt.audit says",
        UserWarning,
        stacklevel=4,
    )

"""What the gradients of K draws have in common, layer by layer, and where they lead."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..attacks.agreement import GradientSums
from ..attacks.expectation import Expectation, cross_entropy, margin
from ..randomness import seeded, signs
from .target import AuditTarget, Budget

Array = NDArray[Any]
LAYERS = ("Conv", "Linear")  # in the names of types: dense, factorized, binary
LOOKED = 64  # images; two sums a layer are held for each
PLACES = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0)  # of epsilon, along a direction


@dataclass(frozen=True)
class Layer:
    """Of the loss's gradient by a layer's output (or the input), medians over images.

    snr     energy of its mean over draws by that of its scatter; None: deterministic, or no energy
    cosine  mean over pairs of draws, zero where one is blind; None likewise
    zero    share of images whose gradient vanishes, or is not finite, in every draw
    """

    name: str
    snr: float | None
    cosine: float | None
    zero: float


def layers(of: AuditTarget, budget: Budget, seed: int) -> list[Layer]:
    """Of the input (first) and every convolution and linear layer, at the first LOOKED images."""
    k = budget.draws if of.random else 1
    x, y = of.head(LOOKED)
    sums: dict[str, GradientSums] = {"input": GradientSums()}
    outputs: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, out, name=name: outputs.__setitem__(name, out))
        for name, module in of.model.named_modules()
        if hasattr(module, "weight") and any(w in type(module).__name__ for w in LAYERS)
    ]
    try:
        with seeded(of.model, seed, "audit gradients"):
            for _ in range(k):
                leaf = x.detach().requires_grad_()
                outputs.clear()
                loss = F.cross_entropy(of.model(leaf), y, reduction="sum")
                met = {"input": leaf}
                met |= {n: out for n, out in outputs.items() if _differentiable(out, len(x))}
                made = torch.autograd.grad(loss, list(met.values()), allow_unused=True)
                for name, gradient in zip(met, made, strict=True):
                    if gradient is not None:
                        sums.setdefault(name, GradientSums()).add(gradient[-len(x) :])
    finally:
        for hook in hooks:
            hook.remove()
    return [Layer(name, s.snr(), s.cosine(), s.zero) for name, s in sums.items()]


def _differentiable(out: Any, batch: int) -> bool:
    """Whether a layer's output has a gradient for each image: the last `batch` rows of it."""
    return isinstance(out, Tensor) and out.requires_grad and out.ndim > 1 and len(out) >= batch


def profile(of: AuditTarget, budget: Budget, seed: int) -> tuple[dict[str, Array], Array]:
    """What the attacks' gradient, averaged over draws, tells of every image.

    Returns:
        The margin [places, N], averaged over draws, along sign(gradient) and along random signs.
        Whether an image's gradient vanishes [N], or is not finite, in every draw.
    """
    made = torch.Generator().manual_seed(seed)
    found: dict[str, list[Array]] = {"gradient": [], "random": []}
    blind: list[Array] = []
    with seeded(of.model, seed, "audit surface"):
        for x, y in of.batches():
            ask = Expectation(of.model, x, cross_entropy, draws=budget.draws, average="gradient")
            slope = ask(x, y).gradient
            assert slope is not None
            blind.append((slope == 0).flatten(1).all(1).cpu().numpy())
            directions = {"gradient": slope.nan_to_num(0.0, 0.0, 0.0).sign()}
            directions["random"] = signs(x, made)
            far = Expectation(of.model, x, margin, draws=budget.draws)
            for name, d in directions.items():
                points = [(x + t * budget.epsilon * of.unit * d).clamp(*of.bounds) for t in PLACES]
                lines = [far(each, y, gradient=False).loss for each in points]
                found[name].append(torch.stack(lines).cpu().numpy())
    surface = {name: np.concatenate(lines, axis=1) for name, lines in found.items()}
    return surface, np.concatenate(blind)

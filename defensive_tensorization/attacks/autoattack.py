"""AutoAttack (Croce & Hein 2020) as its authors' package computes it: a check from outside.

It counts an image as broken, or not worth attacking, after one draw that misses, and gives back as
it was what no attack broke: whoever scores its examples over fresh draws sees what that is worth.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError, from_extra
from ..randomness import signs
from .attack import Attack
from .expectation import answers_vary
from .native import Bounds

AUTO = "auto"  # standard where nothing is random and there are classes enough, else rand
VERSIONS = {  # attacks, and the least number of classes that they need
    "rand": ("APGD-CE and APGD-DLR, 20 draws a step", 3),
    "standard": ("APGD-CE, targeted APGD-DLR and FAB, Square", 10),
}


class Pictured(nn.Module):
    """[B, C, H, W] in [0, 1], all that AutoAttack knows, to the model's logits for its own inputs.

    shape   of the model's input without B; a sound [C, L] is seen as [C, H, W] with H W = L.
    bounds  of the model's input.
    """

    def __init__(self, model: nn.Module, shape: torch.Size, bounds: Bounds) -> None:
        super().__init__()
        self.model = model
        self.shape = shape
        self.low, self.range = bounds[0], bounds[1] - bounds[0]

    def picture(self, x: Tensor) -> Tensor:
        """The model's input as AutoAttack sees it."""
        length = math.prod(self.shape[1:])
        high = self.shape[1] if len(self.shape) == 3 else _factor(length)
        seen = (x - self.low) / self.range
        return seen.reshape(len(x), self.shape[0], high, length // high).contiguous()

    def forward(self, z: Tensor) -> Tensor:
        made: Tensor = self.model(self.back(z))
        return made

    def back(self, z: Tensor) -> Tensor:
        return z.reshape(len(z), *self.shape) * self.range + self.low


class _InputsAlone(torch.autograd.Function):
    """A model's logits, whose `backward` reaches the inputs and no parameter."""

    @staticmethod
    def forward(ctx: Any, model: nn.Module, z: Tensor) -> Tensor:
        with torch.set_grad_enabled(z.requires_grad):
            ctx.leaf = z.detach().requires_grad_(z.requires_grad)
            ctx.logits = model(ctx.leaf)
        logits: Tensor = ctx.logits
        return logits.detach()

    @staticmethod
    def backward(ctx: Any, *outward: Tensor) -> tuple[None, Tensor]:
        found = torch.autograd.grad(ctx.logits, ctx.leaf, outward, retain_graph=True)
        return None, found[0]


def autoattack(*, epsilon: float, unit: float, version: str = AUTO) -> Attack:
    """version: `rand`, for randomized networks, `standard`, for deterministic ones, or `auto`.

    Its seed comes from torch's global generator, which it reseeds and which is put back; the
    network's own draws have generators that it does not reach.
    """
    if version not in (AUTO, *VERSIONS):
        raise UsageError(
            f"attack.autoattack.version must be one of {', '.join((AUTO, *VERSIONS))}, "
            f"got {version!r}"
        )

    def perturb(model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, radius: float) -> Tensor:
        with from_extra():
            from pyautoattack import AutoAttack

        seen = Pictured(model, x.shape[1:], bounds)
        with torch.no_grad():
            classes = model(x[:1]).shape[1]
            made = torch.Generator().manual_seed(0)
            corner = (x[:1] + radius * signs(x[:1], made)).clamp(*bounds)
            chosen = _chosen(model, (x[:1], corner), classes) if version == AUTO else version
        if classes < VERSIONS[chosen][1]:
            raise UsageError(
                f"attack.autoattack.version={version} runs {chosen}, which needs "
                f"{VERSIONS[chosen][1]} classes, there are {classes}: take apgd_ce and square"
            )
        seed = int(torch.randint(2**31, ()))
        with torch.random.fork_rng():
            attack: Any = AutoAttack(
                seen, norm="Linf", eps=radius / seen.range, version=chosen, seed=seed,
                device=x.device,
            )  # fmt: skip
            attack.fab.predict = partial(_InputsAlone.apply, seen)  # it calls `backward`
            found, _ = attack.run_standard_evaluation(seen.picture(x), y, batch_size=len(x))
        near = x + (seen.back(found) - x).clamp(-radius, radius)
        return near.clamp(*bounds).detach()

    options = (("version", version), ("draws", 1 if version == "standard" else 20))
    return Attack(
        "autoattack", epsilon, unit, 100, 2 * epsilon * unit, True, perturb, options=options
    )


def _chosen(model: nn.Module, asked: Sequence[Tensor], classes: int) -> str:
    enough = classes >= VERSIONS["standard"][1]
    return "rand" if not enough or any(answers_vary(model, x) for x in asked) else "standard"


def _factor(length: int) -> int:
    """The height of the least oblong picture of so many samples."""
    high = next(n for n in range(math.isqrt(length), 0, -1) if length % n == 0)
    if high == 1 and length > 3:
        raise UsageError(
            f"AutoAttack needs a picture, and {length} samples are a prime number: take clips of "
            "another length"
        )
    return high

"""Ground truth: models of which it is known beforehand whether they are robust."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..sketching.draws import Uniform
from .strangers import DropoutLeftOn, NormalNoise, RandomMember, ResizeAndPad
from .verdict import MASKED, NOT_ROBUST, ROBUST


class Noisy(nn.Module):
    """The network behind noise on its input: uniform in [-size, size], a draw like any sketch."""

    def __init__(self, network: nn.Module, size: float) -> None:
        super().__init__()
        self.network = network
        self.size = size
        self.sketch = Uniform()

    def forward(self, x: Tensor) -> Tensor:
        drawn = self.sketch.draw(x.device, len(x), size=x[0].numel())
        if drawn is not None and drawn[0] is not None:
            x = x + self.size * (2 * drawn[0] - 1).view(-1, *x.shape[1:])
        made: Tensor = self.network(x)
        return made


class Stepped(nn.Module):
    """The network behind a rounding of its input to so many levels, whose derivative is zero."""

    def __init__(self, network: nn.Module, levels: int) -> None:
        super().__init__()
        self.network = network
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.network(torch.round(x * self.levels) / self.levels)
        return made


class Saturated(nn.Module):
    """The network with its logits multiplied: the same answers, a loss without a gradient."""

    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network = network
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.network(x) * self.factor
        return made


Wrap = Callable[[nn.Module, float], nn.Module]
"""(deployed network, radius of the audit) to what is audited."""


@dataclass(frozen=True)
class Member:
    """overrides: of the configuration; wrap: around the deployed network; right: verdicts that are
    right, `why` they are."""

    name: str
    label: str
    overrides: tuple[str, ...]
    right: tuple[str, ...]
    why: str
    wrap: Wrap | None = None

    @property
    def known(self) -> dict[str, Any]:
        """For the panel's page."""
        return {"label": self.label, "right": list(self.right), "why": self.why}


CLAIM = 0.1
"""What every member is said to keep, unless another claim is made: chance, of ten classes."""

_DENSE = ("defence=none", "theta=1")
_BROKEN = (MASKED, NOT_ROBUST)  # which of the two depends on how far one draw misleads
_ORDINARY = "trained on clean images alone"


def _ours(theta: str) -> Member:
    overrides = ("defence=tensorization", f"theta={theta}")
    why = f"{_ORDINARY}; random weights"
    return Member(f"ours_{theta}", f"Ours θ={theta}", overrides, _BROKEN, why)


MEMBERS = (
    Member("undefended", "Undefended", _DENSE, (NOT_ROBUST,), f"{_ORDINARY}; nothing hides it"),
    Member(
        *("pgd", "PGD training", ("defence=adversarial_pgd", "theta=1"), (ROBUST,)),
        "trained on adversarial examples; deterministic and smooth",
    ),
    Member(
        *("noise", "Input noise", _DENSE, _BROKEN, f"{_ORDINARY}; noise of the size of epsilon"),
        lambda network, radius: Noisy(network, radius),
    ),
    Member(
        *("sap", "Activation pruning", ("defence=sap", "theta=1"), _BROKEN),
        f"{_ORDINARY}; random activations",
    ),
    Member(
        *("dropout", "Defensive dropout", ("defence=defensive_dropout", "theta=1"), _BROKEN),
        f"{_ORDINARY}; random features",
    ),
    Member(
        *("normal_noise", "Normal noise of torch's own", _DENSE, _BROKEN),
        f"{_ORDINARY}; noise of half the size of epsilon, from torch's global generator",
        lambda network, radius: NormalNoise(network, radius / 2),
    ),
    Member(
        *("resize_pad", "Random resize and pad", _DENSE, _BROKEN),
        f"{_ORDINARY}; sizes and places from Python's generator",
        lambda network, radius: ResizeAndPad(network, 0.9),
    ),
    Member(
        *("dropout_on", "Dropout left on", _DENSE, _BROKEN),
        f"{_ORDINARY}; half of the features, from torch's global generator",
        lambda network, radius: DropoutLeftOn(network, 0.5),
    ),
    Member(
        *("random_member", "A random one of three networks", _DENSE, _BROKEN),
        f"{_ORDINARY}; one for a forward, from numpy's generator: each sees the image moved by a "
        "pixel, or not",
        lambda network, radius: RandomMember(network),
    ),
    Member(
        *("stepped", "Rounding without gradient", _DENSE, (MASKED,)),
        f"{_ORDINARY}; the derivative is zero everywhere",
        lambda network, radius: Stepped(network, 31),
    ),
    Member(
        *("saturated", "Saturated loss", _DENSE, (MASKED,)),
        f"{_ORDINARY}; logits times 10,000 leave the cross-entropy flat",
        lambda network, radius: Saturated(network, 1e4),
    ),
    *map(_ours, ("0.95", "0.9", "0.8")),
    Member(
        *("ours_0.95_pgd", "Ours θ=0.95, PGD training"),
        *(("defence=tensorization_pgd", "theta=0.95"), (ROBUST,)),
        "trained on adversarial examples; random weights",
    ),
)

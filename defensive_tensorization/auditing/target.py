"""What is audited, and how much is spent on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from .. import sketching
from ..attacks.unchanged import unchanged
from ..randomness import Randomness, detect, near, seeded
from .evaluation import device_of


@dataclass(frozen=True)
class Budget:
    """epsilon in the data's unit; steps, draws K and restarts of a gradient attack; queries of
    Square and random points of noise; scored: fresh draws that score an image."""

    epsilon: float
    steps: int = 20
    draws: int = 10
    restarts: int = 1
    queries: int = 100
    scored: int = 30


@dataclass(frozen=True)
class AuditTarget:
    """A deployed network, the images [N, ...] in `bounds` that it is audited on, their labels.

    available        how many images there are, of which x are the first.
    surrogate_model  another network of the same task, from which examples are transferred.
    radius           of the audited ball, as an amplitude; 0: randomness is looked for at x alone.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    bounds: tuple[float, float]
    unit: float
    classes: int
    available: int
    surrogate_model: nn.Module | None = None
    batch_size: int = 100
    radius: float = 0.0

    @cached_property
    def randomness(self) -> Randomness:
        """Found by behaviour, once, in the state that the network is in at the first question."""
        x, y = self.head(8)
        with unchanged(self.model):
            if self.radius == 0:
                return detect(self.model, x)
            with seeded(self.model, 0, "beside"):
                beside = near(self.model, x, y, self.radius, self.bounds)
            return detect(self.model, x, beside)

    def is_random(self, found: Randomness) -> None:
        """Go on as one whose randomness showed itself later."""
        vars(self)["randomness"] = found  # where cached_property keeps it

    @property
    def random(self) -> bool:
        return self.randomness.random

    @property
    def sketched(self) -> bool:
        """Whether the network has draws of this project's, which an attacker can do without."""
        return sketching.is_live(self.model)

    @cached_property
    def device(self) -> torch.device:
        return device_of(self.model, self.x)

    def head(self, images: int) -> tuple[Tensor, Tensor]:
        """The first images and labels, where the network is."""
        return self.x[:images].to(self.device), self.y[:images].to(self.device)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """No more than one of them is where the network is."""
        for x, y in zip(self.x.split(self.batch_size), self.y.split(self.batch_size), strict=True):
            yield x.to(self.device), y.to(self.device)

"""The random streams of one measurement: the defence's draws, and the attack's choices."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from . import control


@contextmanager
def seeded_rngs(classifier: nn.Module, seed: int, label: str) -> Iterator[None]:
    """The defence's draws and the attack's random choices, on two streams of this row alone."""
    control.seed(classifier, control.stream(seed, label, "defence"))
    with torch.random.fork_rng():
        torch.manual_seed(control.stream(seed, label, "attack"))
        yield

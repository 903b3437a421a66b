"""The random streams of one measurement: the defence's draws, and the attack's choices."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from . import sketching


@contextmanager
def streams(classifier: nn.Module, seed: int, label: str) -> Iterator[None]:
    """The defence's draws and the attack's random choices, on two streams of this row alone."""
    sketching.seed(classifier, sketching.stream(seed, label, "defence"))
    with torch.random.fork_rng():
        torch.manual_seed(sketching.stream(seed, label, "attack"))
        yield

"""Scoring a network under attack: the paper's protocol.

Every (attack, evaluation seed) is one row with its own random streams: a fresh draw for every
forward of the attack, a fresh draw for the scoring, all images in the denominator.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import sketching
from .attacks import Attack, attacker, defender
from .data import Split, Task, decode
from .errors import UsageError
from .progress import bar
from .train import autocast
from .xnor import surrogate


@dataclass(frozen=True)
class Score:
    """One attack under one evaluation seed; accuracies as fractions of all images."""

    attack: Attack | None  # None: clean
    eval_seed: int
    clean_accuracy: float
    robust_accuracy: float
    images: int
    seconds: float


class Classifier(nn.Module):
    """The network as attackers and scorers see it: evaluation mode, fixed weights, float32 out."""

    def __init__(self, network: nn.Module, dtype: str) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        with autocast(x.device, self.dtype):
            logits: Tensor = self.network(x)
        return logits.float()


def subset(split: Split, images: int | None) -> Split:
    """The first `images` of the fixed permutation (seed 0); None: all of them, in order."""
    if images is None:
        return split
    if not 0 < images <= len(split):
        raise UsageError(f"eval.images must lie in 1..{len(split)}, got {images}")
    return split.head(images)


def described(images: int | None, kind: str) -> str:
    return f"all test {kind}" if images is None else f"{images:,} test {kind}, permutation seed 0"


def evaluate(
    classifier: Classifier,
    task: Task,
    split: Split,
    attacks: Sequence[Attack | None],
    seed: int,
    batch_size: int,
    twin: nn.Module | None = None,
) -> Iterator[Score]:
    """The scores of the attacks (None: clean) under one evaluation seed, each as soon as known.

    twin  the network that black-box attacks are computed on.
    """

    def timed(attack: Attack | None) -> tuple[float, float]:
        started = time.perf_counter()
        share = accuracy(classifier, task, split, attack, seed, batch_size, twin)
        return share, time.perf_counter() - started

    clean = timed(None) if attacks else (0.0, 0.0)
    for attack in attacks:
        robust, seconds = timed(attack) if attack else clean
        yield Score(attack, seed, clean[0], robust, len(split), seconds)


def accuracy(
    classifier: Classifier,
    task: Task,
    split: Split,
    attack: Attack | None,
    seed: int,
    batch_size: int,
    twin: nn.Module | None = None,
) -> float:
    """The fraction classified correctly after the attack (None: clean), on the draws it leaves."""
    known = attack.knowledge if attack else "fresh"
    label = f"{attack.name} {attack.epsilon:g}" if attack else "clean"
    correct = torch.zeros((), dtype=torch.long, device=split.labels.device)
    with _streams(classifier, seed, label):
        for start in bar(
            range(0, len(split), batch_size), -(-len(split) // batch_size), f"{label}, seed {seed}"
        ):
            x = decode(split.inputs[start : start + batch_size])
            y = split.labels[start : start + batch_size]
            if x.ndim == 4:
                x = x.contiguous(memory_format=torch.channels_last)
            held = sketching.stream(seed, label, "held", start)
            if attack is not None:
                with surrogate(attack.surrogate), attacker(known, classifier, held, twin) as model:
                    x = attack(model, x, y, task.bounds)
            with torch.no_grad(), defender(known, classifier, held):
                correct += (classifier(x).argmax(1) == y).sum()
    return int(correct) / len(split)


@contextmanager
def _streams(classifier: nn.Module, seed: int, label: str) -> Iterator[None]:
    """The defence's draws and the attack's random choices, on two streams of this row alone."""
    sketching.seed(classifier, sketching.stream(seed, label, "defence"))
    with torch.random.fork_rng():
        torch.manual_seed(sketching.stream(seed, label, "attack"))
        yield

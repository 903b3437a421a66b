"""Scoring a network under attack: the paper's protocol.

Every (attack, evaluation seed) is one row with its own random streams: a fresh draw for every
forward of the attack, a fresh draw for the scoring, all images in the denominator.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import sketching, stopping
from .attacks import Attack, Ended, attacker, defender, manner, walks
from .data import Split, Task, decode
from .errors import UsageError
from .pieces import within_memory
from .progress import bar
from .scores import Answers
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
    answers: Answers
    manner: str = ""  # how an averaging attack's draws were made


class Classifier(nn.Module):
    """The network as attackers and scorers see it: evaluation mode, fixed weights, float32 out.

    transform  stands in front of it, as a part of the defence.
    """

    def __init__(self, network: nn.Module, dtype: str, transform: nn.Module | None = None) -> None:
        super().__init__()
        self.network = network
        self.dtype = dtype
        self.transform = transform
        self.eval().requires_grad_(False)

    def seen(self, how: str) -> "Classifier":
        """What an attacker holds who computes `through` the transform, or is `oblivious` of it."""
        return self if how == "through" else Classifier(self.network, self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.transform is not None:
            x = self.transform(x)
        with autocast(x.device, self.dtype):
            logits: Tensor = self.network(x)
        return logits.float()


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
    draws: int = 1,
    settled: dict[Attack | None, Answers] | None = None,
) -> Iterator[Score]:
    """The scores of the attacks (None: clean) under one evaluation seed, as soon as known: those of
    a walk together, each with the seconds that it takes alone, by its steps.

    twin     the network that black-box attacks are computed on.
    draws    how many fresh ones score each image.
    settled  kept from seed to seed: what no seed changes is found once (its rows cost 0 seconds).
    """
    settled = {} if settled is None else settled

    def timed(walk: Sequence[Attack] | None) -> list[tuple[Answers, float]]:
        aims: Sequence[Attack | None] = walk or [None]
        if all(each in settled for each in aims):
            return [(settled[each], 0.0) for each in aims]
        started = time.perf_counter()
        found = _answers(classifier, task, split, walk, seed, batch_size, twin, draws)
        if not is_random(aims[0], classifier, twin):
            settled.update(zip(aims, found, strict=True))
        took = time.perf_counter() - started
        parts = [each.steps / walk[-1].steps for each in walk] if walk else [1.0]
        return [(each, took * part) for each, part in zip(found, parts, strict=True)]

    made = manner(classifier, min(batch_size, len(split)), split.labels.device)
    clean = timed(None) if attacks else []
    for walk in walks(attacks, together=len(split) <= batch_size):
        scored = clean if walk is None else timed(walk)
        aims: Sequence[Attack | None] = walk or [None]
        for attack, (robust, seconds) in zip(aims, scored, strict=True):
            rates = (clean[0][0].accuracy, robust.accuracy)
            yield Score(attack, seed, *rates, len(split), seconds, robust, made)


def is_random(attack: Attack | None, classifier: Classifier, twin: nn.Module | None) -> bool:
    """Whether an evaluation seed can change what the images get (None: unattacked)."""
    drawn = any(sketching.is_live(each) for each in (classifier, twin) if each is not None)
    return drawn or (attack is not None and attack.random_start)


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
    return answers(classifier, task, split, attack, seed, batch_size, twin).accuracy


def answers(
    classifier: Classifier,
    task: Task,
    split: Split,
    attack: Attack | None,
    seed: int,
    batch_size: int,
    twin: nn.Module | None = None,
    draws: int = 1,
) -> Answers:
    """What each attacked image (None: clean) gets from so many draws, each shared by a batch."""
    walk = [attack] if attack else None
    return _answers(classifier, task, split, walk, seed, batch_size, twin, draws)[0]


def _answers(
    classifier: Classifier,
    task: Task,
    split: Split,
    walk: Sequence[Attack] | None,
    seed: int,
    batch_size: int,
    twin: nn.Module | None,
    draws: int,
) -> list[Answers]:
    """Of each attack of a walk (None: clean), what it alone would get; several need one batch."""
    known = walk[0].knowledge if walk else "fresh"
    label = f"{walk[0].name} {walk[0].epsilon:g}" if walk else "clean"
    rows = f"{label}, {len(walk)} numbers of steps" if walk and len(walk) > 1 else label
    found: list[list[Answers]] = [[] for _ in range(len(walk) if walk else 1)]
    remedy = f"take eval.batch_size below {batch_size} (its rows are a protocol of their own)"
    with streams(classifier, seed, label), within_memory(remedy):
        for start in bar(
            range(0, len(split), batch_size), -(-len(split) // batch_size), f"{label}, seed {seed}"
        ):
            stopping.stop(f"every row is saved but {rows}, seed {seed}, which is measured anew")
            x = decode(split.inputs[start : start + batch_size])
            y = split.labels[start : start + batch_size]
            if x.ndim == 4:
                x = x.contiguous(memory_format=torch.channels_last)
            held = sketching.stream(seed, label, "held", start)
            ends = _ends(classifier, walk, x, y, task.bounds, held, twin) if walk else [(x, None)]
            for made, (end, stopped) in zip(found, ends, strict=True):
                with torch.no_grad(), defender(known, classifier, held):
                    forwards = draws if sketching.is_live(classifier) else 1
                    logits = torch.stack([classifier(end) for _ in range(forwards)])
                    logits = logits.expand(draws, -1, -1)
                if not logits.isfinite().all():
                    raise UsageError(
                        f"{label}: the network's answers are infinite or no numbers, which cannot "
                        "be scored: train it again at a lower train.optimizer.lr"
                    )
                made.append(judged(logits, y, stopped))
    return [reduce(Answers.__add__, each) for each in found]


def attacked(
    classifier: Classifier,
    attack: Attack,
    x: Tensor,
    y: Tensor,
    bounds: tuple[float, float],
    held: int,
    twin: nn.Module | None = None,
) -> tuple[Tensor, Ended | None]:
    """x [B, ...] as an attacker leaves it, and its end; `held` seeds the draw that it may hold."""
    target = classifier.seen(attack.input)
    with surrogate(attack.surrogate), attacker(attack.knowledge, target, held, twin) as model:
        return attack.end(model, x, y, bounds)


def _ends(
    classifier: Classifier,
    walk: Sequence[Attack],
    x: Tensor,
    y: Tensor,
    bounds: tuple[float, float],
    held: int,
    twin: nn.Module | None,
) -> Iterator[tuple[Tensor, Ended | None]]:
    """`attacked` by each attack of a walk; at each, draws stand where it alone leaves them."""
    if len(walk) == 1:
        yield attacked(classifier, walk[0], x, y, bounds, held, twin)
        return
    longest, target = walk[-1], classifier.seen(walk[-1].input)
    with surrogate(longest.surrogate), attacker(longest.knowledge, target, held, twin) as model:
        stops = [attack.steps for attack in walk]
        ends = [
            (end, sketching.streams(classifier))
            for end in longest.along(model, x, y, bounds, stops)
        ]
    for end, there in ends:
        sketching.rewind(classifier, there, x.device)
        yield end, None


def judged(logits: Tensor, y: Tensor, ended: Ended | None = None) -> Answers:
    """logits [n, B, C] and labels y [B]; a majority is of the most votes, and a tie is none."""
    logits = logits if ended is None else ended.counted(logits, y)
    right = logits.argmax(2) == y
    votes = F.one_hot(logits.argmax(2), logits.shape[2]).sum(0)
    others = votes.scatter(1, y[:, None], -1).amax(1)
    mean = logits.softmax(2).mean(0).argmax(1) == y
    return Answers(
        right.sum(0).cpu().numpy(),
        (right.sum(0) > others).cpu().numpy(),
        mean.cpu().numpy(),
        right.sum(1).cpu().numpy(),
        None if ended is None else ended.names,
    )


@contextmanager
def streams(classifier: nn.Module, seed: int, label: str) -> Iterator[None]:
    """The defence's draws and the attack's random choices, on two streams of this row alone."""
    sketching.seed(classifier, sketching.stream(seed, label, "defence"))
    with torch.random.fork_rng():
        torch.manual_seed(sketching.stream(seed, label, "attack"))
        yield

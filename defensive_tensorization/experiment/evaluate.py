"""Scoring a network under attack, image by image and draw by draw.

Every (attack, evaluation seed) is one row with its own random streams: a fresh draw for every
forward of the attack, a fresh draw for the scoring, all images in the denominator.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from .. import sketching
from ..attacks import Attack, Ended, attacker, batching_note, defender, group_by_steps
from ..attacks.agreement import cosine_between_draws
from ..attacks.scoring import check_finite, score_logits
from ..data import Split, Task, decode
from ..results.scores import Answers
from ..sketching.seeded_rngs import seeded_rngs
from ..system import signals
from ..system.progress import bar
from ..training.microbatches import within_memory
from ..xnor import sign_gradient
from .classifier import Classifier


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
    batching_note: str = ""  # how an averaging attack's draws were made
    gradient_cosine: float | None = None  # of two draws, where it was asked for; of clean alone


def described(images: int | None, kind: str) -> str:
    return f"all test {kind}" if images is None else f"{images:,} test {kind}, permutation seed 0"


def evaluate(
    classifier: Classifier,
    task: Task,
    split: Split,
    attacks: Sequence[Attack | None],
    seed: int,
    batch_size: int,
    surrogate_model: nn.Module | None = None,
    score_samples: int = 1,
    deterministic_cache: dict[Attack | None, Answers] | None = None,
    gradient_images: int | None = None,
) -> Iterator[Score]:
    """The scores of the attacks (None: clean) under one evaluation seed, as soon as known: those of
    a walk together, each with the seconds that it takes alone, by its steps.

    surrogate_model      the network that black-box attacks are computed on.
    score_samples        how many fresh draws score each image.
    deterministic_cache  results that do not depend on the seed, kept from seed to seed (their rows
                         cost 0 seconds).
    gradient_images      at how many images the clean score compares the gradients of as many draws.
    """
    deterministic_cache = {} if deterministic_cache is None else deterministic_cache

    def timed(group: Sequence[Attack] | None) -> list[tuple[Answers, float]]:
        aims: Sequence[Attack | None] = group or [None]
        if all(each in deterministic_cache for each in aims):
            return [(deterministic_cache[each], 0.0) for each in aims]
        started = time.perf_counter()
        found = _answers(
            classifier, task, split, group, seed, batch_size, surrogate_model, score_samples
        )
        if not depends_on_seed(aims[0], classifier, surrogate_model):
            deterministic_cache.update(zip(aims, found, strict=True))
        took = time.perf_counter() - started
        parts = [each.steps / group[-1].steps for each in group] if group else [1.0]
        return [(each, took * part) for each, part in zip(found, parts, strict=True)]

    made = batching_note(classifier, min(batch_size, len(split)), split.labels.device)
    clean = timed(None) if attacks else []
    for group in group_by_steps(attacks, together=len(split) <= batch_size):
        scored = clean if group is None else timed(group)
        aims: Sequence[Attack | None] = group or [None]
        for attack, (robust, seconds) in zip(aims, scored, strict=True):
            rates = (clean[0][0].accuracy, robust.accuracy)
            cosine = None
            if gradient_images and attack is None and depends_on_seed(None, classifier, None):
                x, y = decode(split.inputs[:gradient_images]), split.labels[:gradient_images]
                with seeded_rngs(classifier, seed, "gradients"):
                    cosine = cosine_between_draws(classifier, x, y, score_samples)
            yield Score(attack, seed, *rates, len(split), seconds, robust, made, cosine)


def depends_on_seed(
    attack: Attack | None, classifier: Classifier, surrogate_model: nn.Module | None
) -> bool:
    """Whether an evaluation seed can change what the images get (None: unattacked)."""
    models = [each for each in (classifier, surrogate_model) if each is not None]
    drawn = any(sketching.is_live(each) or getattr(each, "draws", False) for each in models)
    return drawn or (attack is not None and attack.random_start)


def answers(
    classifier: Classifier,
    task: Task,
    split: Split,
    attack: Attack | None,
    seed: int,
    batch_size: int,
    surrogate_model: nn.Module | None = None,
    score_samples: int = 1,
) -> Answers:
    """What each attacked image (None: clean) gets from so many draws, each shared by a batch."""
    group = [attack] if attack else None
    return _answers(
        classifier, task, split, group, seed, batch_size, surrogate_model, score_samples
    )[0]


def _answers(
    classifier: Classifier,
    task: Task,
    split: Split,
    group: Sequence[Attack] | None,
    seed: int,
    batch_size: int,
    surrogate_model: nn.Module | None,
    score_samples: int,
) -> list[Answers]:
    """Of each attack of a walk (None: clean), what it alone would get; several need one batch."""
    known = group[0].knowledge if group else "fresh"
    label = f"{group[0].name} {group[0].epsilon:g}" if group else "clean"
    rows = f"{label}, {len(group)} numbers of steps" if group and len(group) > 1 else label
    found: list[list[Answers]] = [[] for _ in range(len(group) if group else 1)]
    remedy = f"take eval.batch_size below {batch_size} (its rows are a protocol of their own)"
    with seeded_rngs(classifier, seed, label), within_memory(remedy):
        for start in bar(
            range(0, len(split), batch_size), -(-len(split) // batch_size), f"{label}, seed {seed}"
        ):
            signals.stop(f"every row is saved but {rows}, seed {seed}, which is measured anew")
            x = decode(split.inputs[start : start + batch_size])
            y = split.labels[start : start + batch_size]
            if x.ndim == 4:
                x = x.contiguous(memory_format=torch.channels_last)
            frozen_draw_seed = sketching.stream(seed, label, "held", start)
            adversarial_examples = (
                _adversarial_examples(
                    classifier, group, x, y, task.bounds, frozen_draw_seed, surrogate_model
                )
                if group
                else [(x, None)]
            )
            for made, (end, stopped) in zip(found, adversarial_examples, strict=True):
                with torch.no_grad(), defender(known, classifier, frozen_draw_seed):
                    forwards = score_samples if depends_on_seed(None, classifier, None) else 1
                    logits = torch.stack([classifier(end) for _ in range(forwards)])
                    logits = logits.expand(score_samples, -1, -1)
                check_finite(logits, label, "train it again at a lower train.optimizer.lr")
                made.append(score_logits(logits, y, stopped))
    return [reduce(Answers.__add__, each) for each in found]


def attacked(
    classifier: Classifier,
    attack: Attack,
    x: Tensor,
    y: Tensor,
    bounds: tuple[float, float],
    frozen_draw_seed: int,
    surrogate_model: nn.Module | None = None,
) -> tuple[Tensor, Ended | None]:
    """x [B, ...] as an attacker leaves it, and its end.

    frozen_draw_seed  seeds the draw that the attacker may hold.
    """
    target = classifier.seen(attack.input)
    with (
        sign_gradient(attack.surrogate),
        attacker(attack.knowledge, target, frozen_draw_seed, surrogate_model) as model,
    ):
        return attack.end(model, x, y, bounds)


def _adversarial_examples(
    classifier: Classifier,
    group: Sequence[Attack],
    x: Tensor,
    y: Tensor,
    bounds: tuple[float, float],
    frozen_draw_seed: int,
    surrogate_model: nn.Module | None,
) -> Iterator[tuple[Tensor, Ended | None]]:
    """`attacked` by each attack of a walk; at each, draws stand where it alone leaves them."""
    if len(group) == 1:
        yield attacked(classifier, group[0], x, y, bounds, frozen_draw_seed, surrogate_model)
        return
    longest, target = group[-1], classifier.seen(group[-1].input)
    with (
        sign_gradient(longest.surrogate),
        attacker(longest.knowledge, target, frozen_draw_seed, surrogate_model) as model,
    ):
        step_checkpoints = [attack.steps for attack in group]
        adversarial_examples = [
            (end, sketching.rng_states(classifier))
            for end in longest.run_with_step_checkpoints(model, x, y, bounds, step_checkpoints)
        ]
    for end, there in adversarial_examples:
        sketching.rewind(classifier, there, x.device)
        yield end, None

"""What the attacks leave of an audited network: each image's answers, under the same draws."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..attacks import Attack, attacker
from ..attacks.scoring import check_finite, score_logits
from ..attacks.unchanged import unchanged
from ..randomness import AT_EXAMPLES, seeded, varies
from ..results.scores import Answers
from ..system.progress import bar
from .attack_suite import attack_suite
from .store import Piece, Store
from .target import AuditTarget, Budget


@dataclass
class AuditResults:
    """What the attacks left: answers by name, the attack behind each, names of those at epsilon."""

    answers: dict[str, Answers] = field(default_factory=dict)
    attacks: dict[str, Attack] = field(default_factory=dict)
    at_epsilon: list[str] = field(default_factory=list)
    moved: float = 0.0  # the largest change of an input under the attack of size 0


def run_attacks(
    of: AuditTarget, budget: Budget, seed: int, store: Store | None = None
) -> AuditResults:
    """Every attack of the suite, and `best`: of each image the strongest attack's example, or
    another's that is clearly better.

    All meet the same draws, as a few may answer quite otherwise than most: nothing but the attacks
    may tell their examples apart. `best` is chosen by these (`choice`) and scored by others, so
    that luck does not count. Examples lie in the store, and no more than a batch in memory.

    A network whose answers vary at examples alone is attacked and scored anew as a random one.
    """
    store = store or Store(None)
    try:
        return _run(of, budget, seed, store)
    except _Varies:
        of.is_random(AT_EXAMPLES)
        return _run(of, budget, seed, store)


class _Varies(Exception):
    """The answers of a network that was taken for deterministic."""


def _run(of: AuditTarget, budget: Budget, seed: int, store: Store) -> AuditResults:
    run = _Run(of, attack_suite(of, budget), budget.scored, seed, store)
    found = AuditResults(attacks=run.attacks)
    found.answers["clean"] = run.scored_under("clean")
    for name in bar(run.attacks, len(run.attacks), "audit", "attacks"):
        found.answers[name] = run.scored_under(name)
    found.moved = run.moved("zero")
    found.at_epsilon = [n for n, a in run.attacks.items() if a.epsilon == budget.epsilon]
    chosen = choice([found.answers[name] for name in found.at_epsilon])
    found.answers["best"] = run.scored_best(found.at_epsilon, chosen)
    return found


def choice(answers: Sequence[Answers]) -> NDArray[np.int_]:
    """Which attack [N] gives each image's example: the one strongest over all images, but where
    others are right under fewer draws by more than noise, of these the one under the fewest.

    Noise is two standard deviations of the difference of two counts of n fair coins, sqrt(2 n):
    the fewest of a dozen noisy counts is luck, and its example weaker than the strongest's. Of one
    draw there is none. A tie goes to the attack that is stronger over all images.
    """
    order = np.argsort([each.accuracy for each in answers], kind="stable")
    right = np.stack([answers[i].correct for i in order])
    n = answers[0].draws
    clear = right[0] - right.min(0) > (math.sqrt(2 * n) if n > 1 else 0)
    return np.asarray(order[np.where(clear, right.argmin(0), 0)])


@dataclass(frozen=True)
class _Run:
    of: AuditTarget
    attacks: dict[str, Attack]
    draws: int
    seed: int
    store: Store

    def scored_under(self, name: str) -> Answers:
        """Under an attack, or clean."""
        found = []
        batches = -(-len(self.of.x) // self.of.batch_size)
        for place, (x, y) in enumerate(bar(self.of.batches(), batches, name)):
            at = x if name == "clean" else self.example(name, place, x, y)
            if not self.of.random and name != "clean":
                self._refuse_varying(at, place)
            found.append(self.score(at, y, place, "every attack", name))
        return reduce(Answers.__add__, found)

    def scored_best(self, names: Sequence[str], chosen: NDArray[np.int_]) -> Answers:
        """Each image's example by the attack that was chosen for it, under other draws."""
        found, done = [], 0
        for place, (x, y) in enumerate(self.of.batches()):
            mine = torch.as_tensor(chosen[done : done + len(x)], device=x.device)
            done += len(x)
            best = x.clone()
            for number in mine.unique().tolist():
                rows = mine == number
                best[rows] = self.example(names[number], place, x, y)[rows]
            found.append(self.score(best, y, place, "best", "best"))
        return reduce(Answers.__add__, found)

    def _refuse_varying(self, x: Tensor, place: int) -> None:
        model = self.of.model
        with unchanged(model), seeded(model, self.seed, f"audit asking {place}"):
            if varies(model, x):
                raise _Varies

    def moved(self, name: str) -> float:
        """The largest change of any input."""
        return max(
            float((self.example(name, place, x, y) - x).abs().max())
            for place, (x, y) in enumerate(self.of.batches())
        )

    def example(self, name: str, place: int, x: Tensor, y: Tensor) -> Tensor:
        """What an attack makes of one batch, on streams of its own, or what the store has of it."""

        def make() -> Piece:
            of, attack, other = self.of, self.attacks[name], self.of.surrogate_model
            label = f"audit {name} {place}"
            with (
                seeded(of.model, self.seed, label),
                nullcontext() if other is None else seeded(other, self.seed, label),
                attacker(attack.knowledge, of.model, self.seed, other) as model,
            ):
                return {"x": attack(model, x, y, of.bounds)}

        return self.store.remember(make, "examples", name, place)["x"].to(x.device)

    def score(self, x: Tensor, y: Tensor, place: int, label: str, name: str) -> Answers:
        """Score x [B, ...] by fresh draws; a deterministic network is asked once.

        Args:
            label: names the draws. name: of the attack that left x, for an error.

        Raises:
            UsageError: for answers that are infinite or no numbers.
        """
        of = self.of
        with seeded(of.model, self.seed, f"audit {label} scoring {place}"), torch.no_grad():
            forwards = self.draws if of.random else 1
            logits = torch.stack([of.model(x) for _ in range(forwards)])
        check_finite(logits, f"{name} {place}")
        return score_logits(logits, y)

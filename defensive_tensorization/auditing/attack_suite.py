"""What an audit measures: each image's answers under every attack of a stated budget."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import sketching
from ..attacks import Attack, attacker
from ..attacks.amplitudes import climb
from ..attacks.expectation import Expectation, margin
from ..attacks.in_units import apgd, eot_pgd, square
from ..attacks.scoring import score_logits
from ..attacks.search import Ball, Best, searching
from ..results.scores import Answers
from ..sketching.seeded_rngs import seeded_rngs
from ..system.progress import bar


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

    @property
    def random(self) -> bool:
        return sketching.is_live(self.model)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.x.split(self.batch_size), self.y.split(self.batch_size), strict=True)


@dataclass
class AuditResults:
    """What the attacks left: answers by name, the attack behind each, the examples at epsilon."""

    answers: dict[str, Answers] = field(default_factory=dict)
    attacks: dict[str, Attack] = field(default_factory=dict)
    examples: dict[str, Tensor] = field(default_factory=dict)
    moved: float = 0.0  # the largest change of an input under the attack of size 0


WHITE = ("fgsm", "pgd", "eot", "apgd_ce", "apgd_dlr", "steps", "draws", "restarts")
"""White-box attacks at epsilon, by gradients of the very network."""


def attack_suite(of: AuditTarget, budget: Budget) -> dict[str, Attack]:
    """The attacks by the name that the checks know them by."""
    b = budget
    scale: dict[str, Any] = {"epsilon": b.epsilon, "unit": of.unit}
    half = (of.bounds[1] - of.bounds[0]) / 2 / of.unit
    size = 2.5 * b.epsilon / b.steps  # Madry et al. 2017: far enough to reach any corner
    pgd_steps: dict[str, Any] = {"steps": b.steps, "step_size": size, "keep": "last"}
    strong: dict[str, Any] = {"steps": b.steps, "draws": b.draws, "restarts": b.restarts}
    made = {
        "zero": apgd(epsilon=0, unit=of.unit, steps=2, draws=b.draws),
        "noise": noise(**scale, steps=b.queries, draws=b.draws),
        "fgsm": climb("fgsm", b.epsilon, 1, b.epsilon * of.unit, random_start=False, unit=of.unit),
        "pgd": eot_pgd(**scale, **pgd_steps, draws=1),
        "eot": eot_pgd(**scale, **pgd_steps, draws=b.draws),
        "apgd_ce": apgd(**scale, **strong),
        "apgd_dlr": apgd(**scale, **strong, loss="dlr"),
        "square": square(**scale, steps=b.queries, draws=b.draws),
        "steps": apgd(**scale, **strong | {"steps": 2 * b.steps}),
        "restarts": apgd(**scale, **strong | {"restarts": 2 * b.restarts}),
        "double": eot_pgd(
            **{**scale, "epsilon": 2 * b.epsilon},
            **pgd_steps | {"step_size": 2 * size},
            draws=b.draws,
        ),
        "large": apgd(epsilon=half, unit=of.unit, **strong),
    }
    if of.classes < 3:
        del made["apgd_dlr"]
    if of.random:
        made["draws"] = apgd(**scale, **strong | {"draws": 2 * b.draws})
        made["omniscient"] = replace(made["apgd_ce"], knowledge="omniscient")
    if of.surrogate_model is not None:
        made["transfer"] = replace(made["apgd_ce"], knowledge="blackbox")
    return made


def noise(*, epsilon: float, unit: float, steps: int, draws: int) -> Attack:
    """The best of `steps` corners of the ball, drawn at random: no gradient, no memory."""

    def search(asked: Expectation, ball: Ball, y: Tensor) -> Best:
        best = Best(ball.x)
        for _ in range(steps):
            sign = torch.randint(2, ball.x.shape, device=ball.x.device).to(ball.x) * 2 - 1
            at = ball.project(ball.x + ball.radius * sign)
            best.offer(at, asked(at, y, gradient=False))
        return best

    return searching(
        *("noise", search, margin),
        epsilon=epsilon,
        unit=unit,
        steps=steps,
        step_size=epsilon * unit,
        draws=draws,
        average="loss",
        restarts=1,
    )


def run_attacks(of: AuditTarget, budget: Budget, seed: int) -> AuditResults:
    """Every attack of the arsenal, and `best`: of each image the strongest attack's example, or
    another's that is clearly better.

    All meet the same draws, as a few may answer quite otherwise than most: nothing but the attacks
    may tell their examples apart. `best` is chosen by these (`choice`) and scored by others, so
    that luck does not count.
    """
    found = AuditResults()
    found.answers["clean"] = score(of, of.x, budget.scored, seed, "every attack")
    attacks = attack_suite(of, budget)
    for name, attack in bar(attacks.items(), len(attacks), "audit"):
        made = _examples(of, attack, seed, name)
        found.attacks[name] = attack
        found.answers[name] = score(of, made, budget.scored, seed, "every attack")
        if name == "zero":
            found.moved = float((made - of.x).abs().max())
        if attack.epsilon == budget.epsilon:
            found.examples[name] = made
    chosen = torch.as_tensor(choice([found.answers[n] for n in found.examples])).to(of.x.device)
    every = torch.stack([*found.examples.values()])
    best = every[chosen, torch.arange(len(of.x), device=of.x.device)]
    found.answers["best"] = score(of, best, budget.scored, seed, "best")
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


def score(of: AuditTarget, x: Tensor, draws: int, seed: int, label: str) -> Answers:
    """What x [N, ...] gets from fresh draws; one forward of a deterministic network."""
    found = []
    with seeded_rngs(of.model, seed, f"audit {label} scoring"), torch.no_grad():
        for part, y in zip(x.split(of.batch_size), of.y.split(of.batch_size), strict=True):
            logits = [of.model(part) for _ in range(draws if of.random else 1)]
            found.append(score_logits(torch.stack(logits), y))
    return reduce(Answers.__add__, found)


def _examples(of: AuditTarget, attack: Attack, seed: int, name: str) -> Tensor:
    made = []
    with seeded_rngs(of.model, seed, f"audit {name}"):
        for x, y in of.batches():
            with attacker(attack.knowledge, of.model, seed, of.surrogate_model) as model:
                made.append(attack(model, x, y, of.bounds))
    return torch.cat(made)

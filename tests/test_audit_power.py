"""A wrong `robust` is rare at any budget: audits simulated answer by answer, their truth known.

A world says which images each attack breaks, under which draws; the rules and the verdict are the
audit's own.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import defensive_tensorization as dt
from defensive_tensorization.auditing import checks, power
from defensive_tensorization.auditing.attack_suite import WHITE
from defensive_tensorization.auditing.check import Check
from defensive_tensorization.auditing.judge import Measured, judge
from defensive_tensorization.auditing.target import Budget
from defensive_tensorization.auditing.verdict import MASKED, NOT_ROBUST, ROBUST, UNCLAIMED, Verdict
from defensive_tensorization.results.scores import Answers, Interval

Array = NDArray[Any]
Rng = np.random.Generator
AUDITS = 100
CLAIM = 0.45
NAMES = "clean zero noise fgsm pgd eot apgd_ce apgd_dlr square steps restarts double large".split()


def counted(right: Array) -> Answers:
    """right [draws, N]."""
    count = right.sum(0)
    vote = count * 2 > len(right)
    return Answers(count, vote, vote, right.sum(1))


def effort(name: str, b: Budget) -> tuple[float, float]:
    """Steps along gradients, and draws that each averages over."""
    steps = {"fgsm": 1, "steps": 2 * b.steps}.get(name, b.steps)
    draws = {"fgsm": 1, "pgd": 1, "draws": 2 * b.draws}.get(name, b.draws)
    return steps, draws


class World:
    """kept [draws, N]: what no attack at epsilon takes; the others fall to steps and draws enough.

    Of images that can be broken, half need no more than 1 step, a quarter 4, and so on by `slow`.
    """

    def __init__(self, rng: Rng, n: int, b: Budget, kept: Array, slow: float, noisy: float) -> None:
        self.rng, self.n, self.b, self.kept = rng, n, b, kept
        self.steps = 2 ** rng.exponential(slow, n) if slow else np.ones(n)
        self.draws = 2 ** rng.exponential(noisy, n) if noisy else np.ones(n)
        self.guessed = rng.random(n) < 0.3  # by Square and others without gradients

    def answers(self, name: str) -> Answers:
        every = np.ones_like(self.kept)
        if name in ("clean", "zero"):
            return counted(every)
        if name == "large":
            return counted(every & False)
        if name in ("noise", "square"):
            return counted(self.kept | ~(self.guessed & (self.b.queries > 20)))
        steps, draws = effort(name, self.b)
        broken = (self.steps <= steps) & (self.draws <= draws)
        if name == "double":
            return counted(self.kept & ~broken & (self.rng.random(self.n) < 0.3))
        return counted(self.kept | ~broken)

    def measured(
        self, random: bool, names: list[str], blind: float = 0.0, partial: float = 0.0
    ) -> Measured:
        names = [*names, *(["draws"] if random else [])]
        found = {name: self.answers(name) for name in names}
        at = [n for n in names if n not in ("clean", "zero", "double", "large")]
        best = min((found[n] for n in at if n in WHITE), key=lambda a: a.accuracy)
        vanishes, misses = (self.rng.random(self.n) < share for share in (blind, partial))
        return Measured(
            answers=found | {"best": best},
            at_epsilon=at,
            moved=0.0,
            blind=vanishes,
            explained=np.where(vanishes, 0.0, np.where(misses, 0.5, 0.99)),
            along=self.rng.normal(1.0, 0.3, self.n),
            beside=self.rng.normal(0.0, 0.3, self.n),
            cosine=0.5 if random else None,
            images=self.n,
            available=self.n,
            classes=10,
            shared=True if random else None,
        )


def sound(rng: Rng, n: int, b: Budget, truth: float) -> Measured:
    """Nothing hides anything."""
    kept = np.tile(rng.random(n) < truth, (1, 1))
    return World(rng, n, b, kept, 0.0, 0.0).measured(False, NAMES)


def slow(rng: Rng, n: int, b: Budget, truth: float) -> Measured:
    """Half of what can be broken takes more than 4 steps, a quarter more than 16."""
    return World(rng, n, b, np.tile(rng.random(n) < truth, (1, 1)), 2.9, 0.0).measured(False, NAMES)


def scattered(rng: Rng, n: int, b: Budget, truth: float) -> Measured:
    """Random: half of what can be broken takes averages over more than 4 draws."""
    kept = np.tile(rng.random(n) < truth, (b.scored, 1))
    return World(rng, n, b, kept, 0.0, 2.9).measured(True, NAMES)


def members(rng: Rng, n: int, b: Budget, truth: float) -> Measured:
    """A member of an ensemble at a forward: one in five keeps nothing, the others all the more."""
    share = truth / 0.8
    weak = rng.random(b.scored) < 0.2
    kept = np.where(weak[:, None], False, rng.random(n) < share)
    return World(rng, n, b, kept, 0.0, 0.0).measured(True, NAMES)


def blinded(rng: Rng, n: int, b: Budget, truth: float) -> Measured:
    """A fifth of the images has no gradient, and is kept by that alone."""
    kept = np.tile(rng.random(n) < truth + 0.2, (1, 1))
    return World(rng, n, b, kept, 0.0, 0.0).measured(False, NAMES, blind=0.2)


def partly(rng: Rng, n: int, b: Budget, truth: float) -> Measured:
    """The gradient of a fifth of the images misses half of the slope, which alone keeps them."""
    kept = np.tile(rng.random(n) < truth + 0.2, (1, 1))
    return World(rng, n, b, kept, 0.0, 0.0).measured(False, NAMES, partial=0.2)


WORLDS: dict[str, Callable[[Rng, int, Budget, float], Measured]] = {
    made.__name__: made for made in (sound, slow, scattered, members, blinded, partly)
}
BUDGETS = {
    "one image": (1, Budget(8, steps=20, draws=10, scored=30)),
    "tiny": (5, Budget(8, steps=1, draws=1, queries=1, scored=1)),
    "of the issue": (10, Budget(8, steps=2, draws=2, queries=100, scored=30)),
    "few steps": (200, Budget(8, steps=2, draws=10, scored=30)),
    "one draw": (200, Budget(8, steps=20, draws=1, scored=1)),
    "ordinary": (100, Budget(8)),
    "large": (1000, Budget(8, steps=50, draws=20, queries=500, scored=60)),
}


def audits(world: str, budget: str, truth: float, claim: float | None = CLAIM) -> list[Verdict]:
    n, b = BUDGETS[budget]
    rng = np.random.default_rng(0)
    return [judge(WORLDS[world](rng, n, b, truth), b, claim)[1] for _ in range(AUDITS)]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("world", WORLDS)
def test_what_keeps_no_more_than_its_claim_is_hardly_ever_called_robust(
    world: str, budget: str
) -> None:
    wrong = sum(said.words == ROBUST for said in audits(world, budget, CLAIM))
    assert wrong < 0.05 * AUDITS


@pytest.mark.parametrize("world", ["sound", "members"])
def test_what_keeps_far_more_is_called_robust_at_a_large_budget(world: str) -> None:
    """The other side: rules that never say `robust` would pass the test above."""
    right = sum(said.words == ROBUST for said in audits(world, "large", 0.75))
    assert right > 0.9 * AUDITS


def test_more_images_show_what_keeps_little_more_than_its_claim() -> None:
    """No check's limit may stay where it is for want of images that it looks at."""
    found = audits("sound", "large", 0.17, 0.1)
    assert sum(said.words == ROBUST for said in found) > 0.9 * AUDITS


def test_what_keeps_far_less_is_called_so() -> None:
    found = audits("sound", "ordinary", 0.2)
    assert sum(said.words in (NOT_ROBUST, MASKED) for said in found) > 0.9 * AUDITS


@pytest.mark.parametrize("budget", BUDGETS)
def test_without_a_claim_nothing_is_called_robust(budget: str) -> None:
    found = audits("sound", budget, 0.9, None)
    assert {said.words for said in found} == {UNCLAIMED}
    assert all("of accuracy is left; " in said.reason for said in found)


def test_a_small_budget_asks_for_what_would_do() -> None:
    """The issue's own: 10 images, 2 steps, 2 draws."""
    n, b = BUDGETS["of the issue"]
    said = judge(sound(np.random.default_rng(0), n, b, 1.0), b, 0.1)[1]
    assert said.words.startswith("inconclusive: run ") and said.remedy["audit.steps"] >= 10
    assert "too small a budget for any claim: audit.steps at least 10" in said.reason


def test_the_images_that_are_asked_for_do() -> None:
    """What is left stays, and limits narrow as the root of the images."""
    left = Interval(0.6, 0.5, 0.7)
    check = Check("a", "A", "masking", "", "", "pass", "", hides=0.12)
    assert power.powerless([check], left, 0.45) == [check]
    more = power.images([check], left, 0.45, 100)
    narrow = (100 / more) ** 0.5
    assert 0.6 - 0.1 * narrow - 0.12 * narrow > 0.45
    fewer = (100 / (0.8 * more)) ** 0.5
    assert 0.6 - 0.1 * fewer - 0.12 * fewer < 0.45


def test_the_draws_that_are_asked_for_do() -> None:
    left = Interval(0.6, 0.5, 0.7)
    n = power.scored(left, 0.45, 30, 30)
    assert (1 - 0.025 ** (1 / n)) * 0.6 <= 0.05 / 2 + 1e-9 < (1 - 0.025 ** (1 / (n - 2))) * 0.6


def test_draws_that_no_seed_controls_are_compared_with_wider_intervals() -> None:
    n, b = BUDGETS["ordinary"]
    of = members(np.random.default_rng(0), n, b, 0.5)
    paired, other = judge(of, b, CLAIM)[0], judge(replace(of, controlled=False), b, CLAIM)[0]
    compared = [
        (one.hides, two.hides)
        for one, two in zip(paired, other, strict=True)
        if "difference" in one.figures and one.hides is not None and two.hides is not None
    ]
    assert len(compared) > 8 and all(one <= two for one, two in compared)
    assert sum(one < two for one, two in compared) > 4


def test_an_attack_of_size_0_may_differ_by_the_noise_of_other_draws() -> None:
    rng = np.random.default_rng(0)
    clean, zero = (counted(rng.random((20, 50)) < 0.6) for _ in range(2))
    assert abs(clean.accuracy - zero.accuracy) > checks.ROUNDING
    found = {"clean": clean, "zero": zero}
    assert checks.zero_epsilon(found, 0.0).status == "fail"
    assert checks.zero_epsilon(found, 0.0, paired=False).status == "pass"
    broken = found | {"zero": counted(rng.random((20, 50)) < 0.3)}
    assert checks.zero_epsilon(broken, 0.0, paired=False).status == "fail"


# --- whole audits -------------------------------------------------------------------------------


class Pixels(nn.Module):
    """Two classes by a sum of signed pixels, behind normal noise of torch's own, or none.

    An image's robust accuracy is known: Phi((margin - epsilon |w|_1) / (noise |w|_2)), w the
    difference of the classes' weights; without noise, whether that is positive.
    """

    def __init__(self, noise: float) -> None:
        super().__init__()
        signs = torch.ones(16)
        signs[::2] = -1
        self.weight = nn.Parameter(torch.stack([signs, -signs]))
        self.noise = noise
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1) - 0.5
        if self.noise:
            x = x + self.noise * torch.randn_like(x)
        return x @ self.weight.T

    def truth(self, x: Tensor, y: Tensor, epsilon: float) -> float:
        w = (self.weight[0] - self.weight[1]).detach().double()
        margin = (1 - 2 * y.double()) * ((x.flatten(1).double() - 0.5) @ w)
        left = margin - epsilon * w.abs().sum()
        if not self.noise:
            return float((left > 0).double().mean())
        return float(torch.special.ndtr(left / (self.noise * w.norm())).mean())


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize(
    ("images", "settings"),
    [
        (5, {"steps": 1, "samples": 1, "queries": 1, "scored": 1}),
        (10, {"steps": 2, "samples": 2, "queries": 10, "scored": 5}),
        (60, {"steps": 10, "samples": 5, "queries": 50, "scored": 20}),
    ],
)
def test_whole_audits_hardly_ever_call_wrongly_robust(
    noise: float, images: int, settings: dict[str, int]
) -> None:
    """Of what keeps exactly its claim, over 100 samples of images."""
    model, epsilon = Pixels(noise), 0.05
    made = torch.Generator().manual_seed(0)
    y = torch.randint(2, (4000,), generator=made)
    towards = (1 - 2 * y.float())[:, None] * model.weight[0].detach()
    x = (0.5 + 0.06 * towards + 0.06 * torch.randn(4000, 16, generator=made)).clamp(0.1, 0.9)
    x = x.view(-1, 1, 4, 4)
    claim = model.truth(x, y, epsilon)
    assert 0.3 < claim < 0.9
    wrong = 0
    for audit in range(AUDITS):
        chosen = torch.randperm(len(x), generator=made)[:images]
        given = {"epsilon": epsilon, "claim": claim, "seed": audit, "images": images}
        report = dt.audit(model, (x[chosen], y[chosen]), **given, **settings)  # type: ignore[arg-type]
        wrong += report.verdict == ROBUST
    assert wrong < 0.05 * AUDITS

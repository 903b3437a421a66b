"""Scores by hand, intervals against scipy and against repeated experiments."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from defensive_tensorization.results.scores import (
    NAMES,
    Answers,
    _between_draws,
    difference,
    interval,
    per_image,
)


def of(right: Any, majority: Any = None, probability: Any = None) -> Answers:
    """right [n, N]: draws by images."""
    right = np.asarray(right, dtype=int)
    half = right.sum(0) * 2 > len(right)
    return Answers(
        right.sum(0),
        half if majority is None else np.array(majority, dtype=bool),
        half if probability is None else np.array(probability, dtype=bool),
        right.sum(1),
    )


FOUR = of(
    [[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 0]], majority=[1, 1, 0, 1], probability=[1, 0, 0, 1]
)


@pytest.mark.parametrize(
    ("score", "values"),
    [
        ("mean", [1, 2 / 3, 0, 2 / 3]),
        ("majority", [1, 1, 0, 1]),
        ("probability", [1, 0, 0, 1]),
        ("worst", [1, 0, 0, 0]),
        ("best", [1, 1, 0, 1]),
        ("lucky", [0, 1, 0, 1]),
    ],
)
def test_scores_by_hand(score: str, values: list[float]) -> None:
    assert per_image(FOUR, score).tolist() == pytest.approx(values)
    assert interval([FOUR], score).estimate == pytest.approx(np.mean(values))


def test_accuracy_is_a_quotient() -> None:
    assert FOUR.accuracy == 7 / 12
    assert FOUR.draws == 3 and FOUR.by_draw.tolist() == [3, 2, 2]


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_a_row_gives_back_what_it_was_given(draws: int, images: int, seed: int) -> None:
    made = np.random.default_rng(seed).integers(0, 2, (draws + 2, images))
    answers = of(made[2:], made[0], made[1])
    words = answers.encoded()
    assert len(words[0]) == 2 * images and len(words[1]) == images
    again = Answers.decoded(*words)
    for name in ("correct", "majority", "probability", "by_draw"):
        assert getattr(again, name).tolist() == getattr(answers, name).tolist()
    worst, mean, best = (per_image(again, s).mean() for s in ("worst", "mean", "best"))
    assert worst <= mean <= best


def test_batches_join() -> None:
    right = np.random.default_rng(0).integers(0, 2, (5, 9))
    joined = of(right[:, :4]) + of(right[:, 4:])
    assert joined.encoded() == of(right).encoded()


@pytest.mark.parametrize("right", [0, 1, 37, 199, 200])
@pytest.mark.parametrize("level", [0.95, 0.9])
def test_a_single_draw_has_wilson_s_interval(right: int, level: float) -> None:
    answers = of([[1] * right + [0] * (200 - right)])
    made = interval([answers], level=level)
    known = stats.binomtest(right, 200).proportion_ci(level, method="wilson")
    assert (made.low, made.high) == pytest.approx((known.low, known.high), abs=1e-12)


def test_images_are_the_unit() -> None:
    """Repeating every answer 30 times adds no certainty."""
    right = np.random.default_rng(0).integers(0, 2, (1, 300))
    once, often = interval([of(right)]), interval([of(np.repeat(right, 30, 0))])
    assert (once.low, once.high) == pytest.approx((often.low, often.high))
    assert interval([of(right)] * 4).low <= once.low + 1e-9


def test_a_mean_s_interval_is_the_bootstrap_s() -> None:
    random = np.random.default_rng(0)
    chance = random.beta(2, 2, 800)
    right = random.random((30, 800)) < chance
    made = interval([of(right)])
    known = stats.bootstrap((right.mean(0),), np.mean, rng=random, method="percentile")
    low, high = known.confidence_interval
    assert (made.low, made.high) == pytest.approx((low, high), abs=0.004)


def test_intervals_hold_what_they_promise() -> None:
    """Images and shared draws both vary; 95% means 95% or a little more."""
    random = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        skill, mood = random.normal(0, 1, 150), random.normal(0, 0.5, (30, 1))
        right = skill + mood + random.normal(0, 1, (30, 150)) > 0
        made = interval([of(right)])
        held += made.low <= 0.5 <= made.high
    assert held / 400 >= 0.92


def test_a_difference_is_paired() -> None:
    random = np.random.default_rng(0)
    mine, other = (random.random((1, 400)) < p for p in (0.6, 0.5))
    made = difference([of(mine)], [of(other)])
    known = stats.ttest_rel(mine[0].astype(float), other[0].astype(float)).confidence_interval()
    assert made.estimate == pytest.approx(mine.mean() - other.mean())
    assert (made.low, made.high) == pytest.approx((known.low, known.high), abs=1e-3)
    with pytest.raises(ValueError, match="400 and 10 images cannot be paired"):
        difference([of(mine)], [of(other[:, :10])])


@pytest.mark.parametrize(("ours", "theirs"), [(0, 0), (3, 0), (0, 3), (2, 5)])
def test_few_images_that_differ_are_bonett_and_price_s(ours: int, theirs: int) -> None:
    """Their error of a difference of paired shares: one more discordant image for either side."""
    n = 200
    mine, other = (np.ones((1, n), bool) for _ in range(2))
    other[0, :ours] = mine[0, ours : ours + theirs] = False
    made = difference([of(mine)], [of(other)])
    one, two = (ours + 1) / (n + 2), (theirs + 1) / (n + 2)
    half = 1.959964 * np.sqrt((one + two - (one - two) ** 2) / (n + 2))
    assert made.estimate == pytest.approx((ours - theirs) / n)
    assert made.high - made.estimate == pytest.approx(half, rel=0.01)
    assert made.estimate - made.low == pytest.approx(half, rel=0.01)


@pytest.mark.parametrize("more", [1.0, None, 0.0])
def test_one_image_more_that_differs_widens_a_difference(more: float | None) -> None:
    """By as much as the others do, up to many: no number of images is a threshold."""
    none = np.zeros((10, 200), bool)
    halves = []
    for images in range(1, 60):
        right = none.copy()  # each image under three draws, all draws alike
        for image in range(images):
            right[[(3 * image + k) % 10 for k in range(3)], image] = True
        made = difference([of(right)], [of(none)], more=more)
        halves.append(made.high - made.estimate)
        alone = np.r_[np.full(images, 0.3), np.zeros(200 - images)].std(ddof=1) / np.sqrt(200)
        assert made.high - made.estimate > 1.959 * alone
    assert (np.diff(halves) > 0).all()
    same = difference([of(none)], [of(none)], more=more)
    assert (same.high > 0) == (more != 0) and same.high < 0.02


def test_sparse_differences_hold_what_they_promise() -> None:
    """Ours right now and then, theirs never: few images, some of them under few draws."""
    random = np.random.default_rng(0)
    for n, share, spread in ((64, 0.02, 0.3), (64, 0.05, 1.0), (200, 0.01, 0.3)):
        missed = np.zeros(2)
        for _ in range(400):
            chance = random.beta(share * spread, (1 - share) * spread, n)
            made = difference([of(random.random((30, n)) < chance)], [of(np.zeros((30, n)))])
            missed += made.high < share, made.low > share
        assert missed.max() / 400 <= 0.05


def test_draws_that_both_met_are_paired() -> None:
    """A mood that both share is in neither's favour; that of each is twice a single one's."""
    random = np.random.default_rng(3)
    skill, mood = random.normal(0, 1, 300), random.normal(0, 1, (40, 1))
    mine, other = (of(skill + mood + random.normal(-k, 1, (40, 300)) > 0) for k in (0.0, 0.1))
    paired = difference([mine], [other], same_draws=True, more=0)
    apart = difference([mine], [other])
    assert paired.estimate == apart.estimate
    assert apart.high - apart.low > 4 * (paired.high - paired.low)
    gaps = (mine.by_draw - other.by_draw) / 300
    images = (mine.correct - other.correct) / 40
    error = np.sqrt(gaps.var(ddof=1) / 40 + images.var(ddof=1) / 300)
    assert paired.high - paired.estimate == pytest.approx(1.96 * error, rel=0.02)


@pytest.mark.parametrize("mood", [0.0, 0.5])
def test_what_draws_do_to_all_images_alike_is_told_from_what_they_do_to_each(mood: float) -> None:
    """right_ij = a_i + b_j + e_ij, by simulation: the variance of b alone, over the draws."""
    random, found, known = np.random.default_rng(2), [], []
    for _ in range(300):
        skill, shared = random.normal(0, 1, 64), random.normal(0, mood, (30, 1))
        right = of(skill + shared + random.normal(0, 1, (30, 64)) > 0)
        found.append(_between_draws([right], "mean"))
    for _ in range(4000):  # of very many images
        known.append(stats.norm.cdf(random.normal(0, mood) / np.sqrt(2)) if mood else 0.5)
    assert np.mean(found) == pytest.approx(np.var(known) / 30, abs=3e-5 if mood else 6e-5)
    if mood:
        assert np.mean(found) > 3e-4


@pytest.mark.parametrize("share", [0.03, 0.05, 0.95])
def test_few_images_that_answer_otherwise_do_not_narrow_an_interval(share: float) -> None:
    """That of one image right under 3 of 30 draws is about as wide as that of none."""
    right = np.zeros((30, 100), bool)
    right[:3, 0] = True
    made, known = interval([of(right)]), stats.binomtest(0, 100).proportion_ci(method="wilson")
    assert made.high == pytest.approx(known.high, rel=0.1)
    random, missed = np.random.default_rng(0), np.zeros(2)
    for _ in range(500):
        chance = random.beta(0.3 * share, 0.3 * (1 - share), 100)
        found = interval([of(random.random((30, 100)) < chance)])
        missed += found.high < share, found.low > share
    assert missed.max() / 500 <= 0.05


def test_seeds_are_averaged_image_by_image() -> None:
    random = np.random.default_rng(0)
    seeds = [of(random.integers(0, 2, (30, 60))) for _ in range(12)]
    for score in NAMES:
        values = np.mean([per_image(each, score) for each in seeds], axis=0)
        assert interval(seeds, score).estimate == pytest.approx(values.mean())
    assert (
        interval(seeds).high - interval(seeds).low
        < interval(seeds[:1]).high - interval(seeds[:1]).low
    )


def test_what_a_seed_does_to_all_its_draws_is_in_the_interval() -> None:
    """Three seeds, at 40, 50 and 60% under each of 30 draws: a standard error of 0.1 / sqrt(3)."""
    seeds = [of(np.tile(np.arange(1000) < right, (30, 1))) for right in (400, 500, 600)]
    left, mean = interval(seeds), np.mean([per_image(each, "mean") for each in seeds], axis=0)
    error = np.sqrt(mean.var() / 1000 + 0.1**2 / 3)
    known = stats.norm.interval(0.95, 0.5, error / np.sqrt(1 + (1.959964 * error / 0.5) ** 2))
    assert (left.low, left.high) == pytest.approx(known, abs=1e-5)

"""What n draws say of each image, the scores that follow, and their intervals. Pure numpy.

    mean         share of right answers over images and draws: the headline
    majority     images whose most frequent answer is right; a tie is wrong
    probability  images whose mean probabilities are highest at the right class
    worst, best  images that are right under every draw, under at least one
    lucky        images that the majority gets right although some draw misses: whoever stops at
                 the first success calls them broken

Images are the unit. The variance of a score is that between images, plus, for the mean, that
between draws, each shared by many images, or between evaluation seeds, whichever is larger. One
seed says nothing of what its attack's own draws and start did to all images alike.

A variance found on few images is little known, so each counts two images more, one for either
side: among many that differ these count for little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NAMES = ("mean", "majority", "probability", "worst", "best", "lucky")


@dataclass(frozen=True)
class Answers:
    """correct [N], right answers of n draws; the votes majority and probability [N], right or not;
    by_draw [n], images right under each; outcome [N], of an attack that stops, by name."""

    correct: Array
    majority: Array
    probability: Array
    by_draw: Array
    outcome: Array | None = None

    def __add__(self, other: Answers) -> Answers:
        """Of further images, draw by draw."""
        return Answers(
            np.concatenate([self.correct, other.correct]),
            np.concatenate([self.majority, other.majority]),
            np.concatenate([self.probability, other.probability]),
            self.by_draw + other.by_draw,
            None
            if self.outcome is None or other.outcome is None
            else np.concatenate([self.outcome, other.outcome]),
        )

    def head(self, images: int) -> Answers:
        """Of the first images; each draw at the share that it has of all, which varies less than
        theirs: a difference is found the sooner."""
        share = images / len(self.correct)
        parts = (self.correct[:images], self.majority[:images], self.probability[:images])
        outcome = None if self.outcome is None else self.outcome[:images]
        return Answers(*parts, self.by_draw * share, outcome)

    @property
    def draws(self) -> int:
        return len(self.by_draw)

    @property
    def accuracy(self) -> float:
        """Exact: a quotient of two whole numbers."""
        return int(self.correct.sum()) / (len(self.correct) * self.draws)

    def outcomes(self) -> str:
        """For a row, name=images:right for each outcome: right answers of all draws together."""
        if self.outcome is None:
            return ""
        each = {name: self.correct[self.outcome == name] for name in np.unique(self.outcome)}
        return " ".join(f"{name}={len(of)}:{int(of.sum())}" for name, of in each.items())

    def encoded(self) -> tuple[str, str, str]:
        """For a row: two hex digits an image, one (1: majority, 2: probability), counts a draw."""
        votes = self.majority.astype(int) + 2 * self.probability.astype(int)
        return (
            bytes(self.correct.astype(np.uint8)).hex(),
            "".join(f"{vote:x}" for vote in votes),
            " ".join(str(count) for count in self.by_draw),
        )

    @classmethod
    def decoded(cls, correct: str, votes: str, by_draw: str) -> Answers:
        vote = np.array([int(digit, 16) for digit in votes])
        counts = np.frombuffer(bytes.fromhex(correct), dtype=np.uint8).astype(int)
        return cls(counts, vote % 2 > 0, vote // 2 > 0, np.array([int(c) for c in by_draw.split()]))


@dataclass(frozen=True)
class Interval:
    estimate: float
    low: float
    high: float


def per_image(answers: Answers, score: str) -> Array:
    """[N] in [0, 1]; the score is its mean."""
    n = answers.draws
    values = {
        "mean": answers.correct / n,
        "majority": answers.majority,
        "probability": answers.probability,
        "worst": answers.correct == n,
        "best": answers.correct > 0,
        "lucky": answers.majority & (answers.correct < n),
    }[score]
    return np.asarray(values, dtype=float)


def interval(seeds: Sequence[Answers], score: str = "mean", level: float = 0.95) -> Interval:
    """A score over evaluation seeds of the same images, by Wilson's formula.

    Its sample size is the number of coin tosses that would have the variance found, one image more
    all right and one all wrong: of a single draw that of the images.
    """
    values = np.mean([per_image(answers, score) for answers in seeds], axis=0)
    more = np.append(values, [0, 1])
    variance = more.var() / len(values) + _between_draws(seeds, score)
    return wilson(float(values.mean()), float(more.mean() * (1 - more.mean()) / variance), level)


def wilson(p: float, size: float, level: float) -> Interval:
    """Wilson's interval of a share p of `size` coin tosses."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = (p + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * math.sqrt(p * (1 - p) / size + z**2 / (4 * size**2)) / (1 + z**2 / size)
    return Interval(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)))


def difference(
    ours: Sequence[Answers],
    theirs: Sequence[Answers],
    *,
    level: float = 0.95,
    same_draws: bool = False,
    more: float | None = 1.0,
) -> Interval:
    """The mean of ours minus theirs on the same, paired images; by the normal distribution.

    same_draws: both met the same ones, seed by seed, which are paired too.
    more: its error is that of two images more, one for either side, that differ by so much: whole
    answers (Bonett & Price 2012), so that few images that differ make nothing certain; None: as
    much as any of these does, less cautious; 0: none, to overlook nothing.
    """
    mine, other = (np.mean([per_image(a, "mean") for a in each], axis=0) for each in (ours, theirs))
    if len(mine) != len(other):
        raise ValueError(f"{len(mine)} and {len(other)} images cannot be paired")
    gap = mine - other
    if same_draws:
        drawn = _between_same_draws(ours, theirs)
    else:
        drawn = _between_draws(ours, "mean") + _between_draws(theirs, "mean")
    size = np.abs(gap).max() or 1.0 if more is None else more
    seen = np.append(gap, [size, -size]) if size else gap
    error = float(np.sqrt(seen.var(ddof=1) / len(seen) + drawn))
    z = NormalDist().inv_cdf((1 + level) / 2)
    return Interval(float(gap.mean()), float(gap.mean() - z * error), float(gap.mean() + z * error))


def _between_draws(seeds: Sequence[Answers], score: str) -> float:
    """Variance of the mean score that the choice of draws causes; the other scores use them all.

    Of draws j and images i, right_ij = a_i + b_j + e_ij: b's share. The variance of a draw's mean
    has e's too, which that between images holds already.
    """
    if score != "mean":
        return 0.0
    images, draws = len(seeds[0].correct), np.concatenate([each.by_draw for each in seeds])
    means = np.array([each.by_draw.mean() / images for each in seeds])
    between_seeds = means.var(ddof=1) / len(seeds) if len(seeds) > 1 else 0.0
    if len(draws) == 1 or seeds[0].draws == 1:
        return float(between_seeds)
    n = seeds[0].draws
    of_draws = (draws / images).var(ddof=1)
    shares = np.concatenate([per_image(each, "mean") for each in seeds])
    within = (shares * (1 - shares)).mean() * n / (n - 1)  # b and e
    alone = max(0.0, within - of_draws) / max(1, images - 1)  # e's in a draw's mean
    return float(max(max(0.0, of_draws - alone) / len(draws), between_seeds))


def _between_same_draws(ours: Sequence[Answers], theirs: Sequence[Answers]) -> float:
    """That of the difference of two means, draw by draw; e's share is left in."""
    pairs = zip(ours, theirs, strict=True)
    gaps = np.concatenate([(a.by_draw - b.by_draw) / len(a.correct) for a, b in pairs])
    return float(gaps.var(ddof=1) / len(gaps)) if ours[0].draws > 1 else 0.0

"""Checks of one measurement each, a stated rule on it. Pure: numpy, no network.

docs/audit.md has the reasons.
"""

from collections.abc import Mapping
from dataclasses import asdict
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..results.scores import Answers, difference, interval, wilson
from .check import ATHALYE, CARLINI, ERROR, LEVEL, Check, percent

ROUNDING = 0.005  # the share of answers that a device's arithmetic may change
BLIND = 0.05  # the share of images without a gradient that an attack may be blind on
EXPLAINED = 0.8  # of an image's slope, by its gradient
MEASURED = ("unbounded", "vanishing", "slope")  # share the error with the comparisons of their kind
SIGNAL = 1.0  # the least energy of an averaged gradient's signal, in units of its noise


def zero_epsilon(answers: Mapping[str, Answers], moved: float, paired: bool = True) -> Check:
    """moved: the largest change of an input under the attack of size 0.

    paired: whether both met the same draws; else a difference beyond noise alone is one.
    """
    gap = answers["zero"].accuracy - answers["clean"].accuracy
    differs = abs(gap) > ROUNDING
    if not paired:
        found = difference([answers["zero"]], [answers["clean"]], level=1 - ERROR)
        differs = found.low > ROUNDING or found.high < -ROUNDING
    failed = moved > 0 or differs
    return Check(
        "zero_epsilon",
        "An attack of size 0 is none",
        "harness",
        "inputs unchanged, and the same accuracy as clean "
        + ("under the same draws" if paired else "under other draws, to their noise and")
        + f" to {ROUNDING:.1%}",
        CARLINI,
        "fail" if failed else "pass",
        f"inputs move by {moved:g}; difference {100 * gap:+.2f} points",
        {"moved": moved, "difference": gap},
    )


def unbounded(answers: Mapping[str, Answers], chance: float, error: float) -> Check:
    """error: this check's share of ERROR, as of `vanishing` (MEASURED)."""
    found = interval([answers["large"]], level=1 - 2 * error)
    return Check(
        "unbounded",
        "A perturbation of half the range leaves chance",
        "masking",
        "accuracy(half the range) <= chance + noise: every image can become the same grey; chance: "
        "1 / classes, or the share of the most frequent label",
        ATHALYE,
        "fail" if found.low > chance else "pass",
        f"{percent(found.estimate)} [{percent(found.low)}, {percent(found.high)}] are left, "
        f"chance is {percent(chance)}",
        {"accuracy": asdict(found), "chance": chance},
        hides=max(0.0, interval([answers["large"]], level=LEVEL).high - chance),
    )


def vanishing(blind: NDArray[Any], error: float) -> Check:
    """blind [N]: whether an image's gradient is zero or not finite in every draw."""
    found = wilson(float(blind.mean()), len(blind), 1 - 2 * error)
    return Check(
        "vanishing",
        "Gradients do not vanish",
        "masking",
        f"share of images with an all-zero or infinite gradient <= {BLIND:.0%} + noise",
        "Carlini et al. 2019; Athalye et al. 2018, 4",
        "fail" if found.low > BLIND else "pass",
        f"{int(blind.sum())} of {len(blind)} images have none: [{percent(found.low)}, "
        f"{percent(found.high)}]",
        {"share": asdict(found)},
        hides=wilson(float(blind.mean()), len(blind), LEVEL).high,
    )


def slope(explained: NDArray[Any] | None, error: float) -> Check:
    """explained [N]: the share of an image's slope that its gradient explains (`slopes`); NaN: it
    has no slope to tell by, which counts for what may be hidden. None: it cannot be measured.

    An image without gradient is one more that the gradient does not explain: the share that is
    tolerated is that of `vanishing`.
    """
    told = (
        "slope",
        "The gradient explains the slope",
        "masking",
        f"share of images of whose slope, along random signs, the gradient explains less than "
        f"{EXPLAINED:.0%} <= {BLIND:.0%} + noise",
        "Athalye et al. 2018, 3; Carlini et al. 2019; finite differences",
    )
    if explained is None:
        why = "equal seeds do not give equal draws, on which both must be measured"
        return Check(*told, "skipped", why, hides=1.0)  # type: ignore[arg-type]
    n, flat = len(explained), np.isnan(explained)
    missed = explained < EXPLAINED
    found = wilson(float(missed.mean()), n, 1 - 2 * error)
    median = float(np.median(explained[~flat])) if not flat.all() else None
    reason = (
        f"{int(missed.sum())} of {n} images have less: [{percent(found.low)}, "
        f"{percent(found.high)}]"
        + ("" if median is None else f"; median {percent(median)}")
        + (f"; {int(flat.sum())} have no slope to tell by" if flat.any() else "")
    )
    return Check(
        *told,  # type: ignore[arg-type]
        "fail" if found.low > BLIND else "pass",
        reason,
        {"share": asdict(found), "median": median, "flat": int(flat.sum())},
        hides=wilson(float((missed | flat).mean()), n, LEVEL).high,
    )


def direction(along: NDArray[Any], random: NDArray[Any]) -> Check:
    """How much the averaged margin rises [N] in a short step along the gradient, and at random.

    It fails for want of evidence, not by it: its 5% are those of passing a gradient of no use.
    """
    told = (
        "direction",
        "The gradient points uphill",
        "masking",
        "a short step along sign(gradient) raises the margin more than one along random signs",
        "Athalye et al. 2018, 2.2; Carlini et al. 2019",
    )
    if len(along) < 2:
        return Check(*told, "skipped", "one image has no scatter", hides=1.0)  # type: ignore[arg-type]
    gap = along - random
    error = float(gap.std(ddof=1) / np.sqrt(len(gap)))
    z = NormalDist().inv_cdf(1 - ERROR)
    low, high = float(gap.mean() - z * error), float(gap.mean() + z * error)
    return Check(
        *told,  # type: ignore[arg-type]
        "pass" if low > 0 else "fail",
        f"{along.mean():.3g} and {random.mean():.3g} logits on average: difference "
        f"{gap.mean():.3g} [{low:.3g}, {high:.3g}]",
        {"gradient": float(along.mean()), "random": float(random.mean()), "low": low, "high": high},
    )


def signal(cosine: float | None, draws: int, random: bool) -> Check:
    """cosine: the mean c over pairs of draws' gradients by the input, the median over images; None:
    there are no pairs, or no gradient. Of gradients at unit length, as the attacks average them, c
    is the signal's energy and 1 - c the noise's. random: whether the network is."""
    told = (
        "signal",
        "The averaged gradient is signal",
        "convergence",
        f"draws x c / (1 - c) >= {SIGNAL:g}, c the cosine of two draws' gradients by the input",
        "Athalye et al. 2018, 4; Gao et al. 2022",
    )
    if cosine is None:
        why = "one draw has no pairs" if draws == 1 else "no gradient is left"
        return Check(*told, "skipped", why if random else "nothing is random")  # type: ignore[arg-type]
    passed = draws * cosine >= SIGNAL * (1 - cosine)
    return Check(
        *told,  # type: ignore[arg-type]
        "pass" if passed else "fail",
        f"cosine {cosine:.3g}, {draws} draws",
        {"cosine": cosine, "draws": draws},
        "" if passed else "audit.draws",
    )


def draws_met(left: float, draws: int, shared: bool | None) -> Check:
    """Kinds of draws that never came up: a share s of them is missed by n with (1 - s)^n.

    left: the accuracy that is left; draws: n, independent ones that scored it.
    """
    told = (
        "draws_met",
        "Enough draws are met",
        "randomness",
        f"a share s of draws is missed by n with probability (1 - s)^n: s at {(1 - LEVEL) / 2:.1%}",
        "rule of three, Hanley and Lippman-Hand 1983",
    )
    if shared is None:
        return Check(*told, "skipped", "nothing is random")  # type: ignore[arg-type]
    unseen = 1 - ((1 - LEVEL) / 2) ** (1 / draws)
    reason = f"{draws} independent draws: up to {percent(unseen)} may be of a kind not met"
    figures = {"draws": draws, "unseen": unseen}
    return Check(*told, "pass", reason, figures, hides=unseen * left)  # type: ignore[arg-type]

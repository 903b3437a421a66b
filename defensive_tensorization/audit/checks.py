"""The checks of an audit, each a stated rule on what attacks left. Pure: numpy, no network.

A comparison fails where the 95% interval of a difference (paired over images, clustered:
`scores.difference`) lies on the wrong side of zero. The level is shared by all comparisons of a
kind (Bonferroni), so that an honest network fails any of them in 5 audits of 100 at most.
docs/audit.md has the reasons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..scores import Answers, Interval, difference, interval

Kind = Literal["harness", "masking", "randomness", "convergence"]
Status = Literal["pass", "fail", "skipped"]

ERROR = 0.05  # the chance that an honest network fails any check of a kind
BLIND = 0.05  # the share of images without a gradient that an attack may be blind on
SIGNAL = 1.0  # the least energy of an averaged gradient's signal, in units of its noise


@dataclass(frozen=True)
class Check:
    """figures: as JSON has them; reason: what they say; remedy: the setting to double, if any."""

    name: str
    title: str
    kind: Kind
    rule: str
    source: str
    status: Status
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)
    remedy: str = ""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """Fails where the images right under `weak` are significantly fewer than under `strong`.

    weak, strong  names of attacks, the second at least as strong by its construction; "white": the
                  strongest white-box attack.
    """

    name: str
    title: str
    kind: Kind
    weak: str
    strong: str
    source: str
    remedy: str = ""

    @property
    def rule(self) -> str:
        return f"accuracy({TITLES[self.strong]}) <= accuracy({TITLES[self.weak]}) + noise"


TITLES = {
    "clean": "no attack",
    "zero": "epsilon = 0",
    "noise": "random noise",
    "fgsm": "one step",
    "pgd": "iterated, one draw a step",
    "eot": "iterated, averaged over draws",
    "apgd_ce": "APGD-CE",
    "apgd_dlr": "APGD-DLR",
    "square": "Square, no gradient",
    "transfer": "transferred from the twin",
    "omniscient": "computed without randomness",
    "steps": "APGD-CE, twice the steps",
    "draws": "APGD-CE, twice the draws",
    "restarts": "APGD-CE, twice the restarts",
    "double": "twice epsilon",
    "large": "half the range",
    "white": "the strongest by gradients",
    "best": "each image's best of all",
}

ATHALYE, CARLINI = "Athalye et al. 2018, 3.1", "Carlini et al. 2019"

COMPARISONS = (
    Comparison("single_step", "Iterated beats single-step", "masking", "fgsm", "eot", ATHALYE),
    Comparison("square", "Gradients beat none", "masking", "square", "white", ATHALYE),
    Comparison("transfer", "Gradients beat transfer", "masking", "transfer", "white", ATHALYE),
    Comparison(
        *("omniscient", "Gradients beat those without randomness", "masking"),
        *("omniscient", "white", CARLINI),
    ),
    Comparison("noise", "Gradients beat random noise", "masking", "noise", "white", ATHALYE),
    Comparison("double", "A larger epsilon does not help", "masking", "eot", "double", ATHALYE),
    Comparison("more_steps", "More steps do not help", "masking", "apgd_ce", "steps", CARLINI),
    Comparison("more_draws", "More draws do not help", "masking", "apgd_ce", "draws", ATHALYE),
    Comparison(
        *("more_restarts", "More restarts do not help", "masking"),
        *("apgd_ce", "restarts", CARLINI),
    ),
)
"""The defence must not gain from any of these."""

CONVERGED = (
    Comparison(
        *("steps_enough", "Steps suffice", "convergence", "steps", "apgd_ce", CARLINI),
        "audit.steps",
    ),
    Comparison(
        *("draws_enough", "Draws suffice", "convergence", "draws", "apgd_ce", ATHALYE),
        "audit.draws",
    ),
    Comparison(
        *("restarts_enough", "Restarts suffice", "convergence", "restarts", "apgd_ce", CARLINI),
        "audit.restarts",
    ),
)
"""The attack must not gain either: where it does, its budget was too small."""

ONE_DRAW = Comparison(
    *("one_draw", "One draw a step suffices", "randomness", "eot", "pgd"),
    "Athalye et al. 2018, 4; Gao et al. 2022",
)


def white(answers: Mapping[str, Answers], names: Sequence[str]) -> str:
    """The strongest of the white-box attacks that were run."""
    return min((n for n in names if n in answers), key=lambda n: answers[n].accuracy)


def compare(
    c: Comparison, answers: Mapping[str, Answers], among: Sequence[str], level: float
) -> Check:
    """`among`: the white-box attacks."""
    found = {n: white(answers, among) if n == "white" else n for n in (c.weak, c.strong)}
    told = (c.name, c.title, c.kind, c.rule, c.source)
    missing = [TITLES[n] for n in found.values() if n not in answers]
    if missing:
        return Check(*told, "skipped", f"{' and '.join(missing)}: {_why(missing[0])}")
    weak, strong = (answers[found[n]] for n in (c.weak, c.strong))
    gap = difference([strong], [weak], level=level)
    failed = gap.low > 0
    figures = {
        "weak": {"attack": found[c.weak], "accuracy": weak.accuracy},
        "strong": {"attack": found[c.strong], "accuracy": strong.accuracy},
        "difference": asdict(gap),
        "level": level,
    }
    names = [
        TITLES[n] + (f" ({TITLES[found[n]]})" if n == "white" else "") for n in (c.strong, c.weak)
    ]
    reason = (
        f"{_percent(strong.accuracy)} under {names[0]}, {_percent(weak.accuracy)} under "
        f"{names[1]}: difference {_points(gap)}"
    )
    return Check(*told, "fail" if failed else "pass", reason, figures, c.remedy if failed else "")


def comparisons(
    which: Sequence[Comparison], answers: Mapping[str, Answers], among: Sequence[str]
) -> list[Check]:
    run = [c for c in which if all(n in answers or n == "white" for n in (c.weak, c.strong))]
    level = 1 - 2 * ERROR / max(1, len(run))  # one-sided
    return [compare(c, answers, among, level) for c in which]


def zero_epsilon(answers: Mapping[str, Answers], moved: float) -> Check:
    """moved: the largest change of an input under the attack of size 0."""
    gap = difference([answers["zero"]], [answers["clean"]], level=1 - ERROR)
    failed = moved > 0 or gap.low > 0 or gap.high < 0
    return Check(
        "zero_epsilon",
        "An attack of size 0 is none",
        "harness",
        "inputs unchanged, and accuracy(epsilon = 0) = accuracy(clean) within noise",
        CARLINI,
        "fail" if failed else "pass",
        f"inputs move by {moved:g}; difference {_points(gap)}",
        {"moved": moved, "difference": asdict(gap)},
    )


def unbounded(answers: Mapping[str, Answers], chance: float) -> Check:
    found = interval([answers["large"]], level=1 - 2 * ERROR)
    return Check(
        "unbounded",
        "A perturbation of half the range leaves chance",
        "masking",
        "accuracy(half the range) <= 1 / classes + noise: every image can become the same grey",
        ATHALYE,
        "fail" if found.low > chance else "pass",
        f"{_percent(found.estimate)} [{_percent(found.low)}, {_percent(found.high)}] are left, "
        f"chance is {_percent(chance)}",
        {"accuracy": asdict(found), "chance": chance},
    )


def vanishing(blind: NDArray[Any]) -> Check:
    """blind [N]: whether an image's gradient is zero or not finite in every draw."""
    found = wilson(int(blind.sum()), len(blind), 1 - 2 * ERROR)
    return Check(
        "vanishing",
        "Gradients do not vanish",
        "masking",
        f"share of images with an all-zero or infinite gradient <= {BLIND:.0%} + noise",
        "Carlini et al. 2019; Athalye et al. 2018, 4",
        "fail" if found.low > BLIND else "pass",
        f"{int(blind.sum())} of {len(blind)} images have none: [{_percent(found.low)}, "
        f"{_percent(found.high)}]",
        {"share": asdict(found)},
    )


def direction(along: NDArray[Any], random: NDArray[Any]) -> Check:
    """How much the averaged margin rises [N] in a short step along the gradient, and at random."""
    gap = along - random
    error = float(gap.std(ddof=1) / np.sqrt(len(gap)))
    z = NormalDist().inv_cdf(1 - ERROR)
    low, high = float(gap.mean() - z * error), float(gap.mean() + z * error)
    return Check(
        "direction",
        "The gradient points uphill",
        "masking",
        "a short step along sign(gradient) raises the margin more than one along random signs",
        "Athalye et al. 2018, 2.2; Carlini et al. 2019",
        "pass" if low > 0 else "fail",
        f"{along.mean():.3g} and {random.mean():.3g} logits on average: difference "
        f"{gap.mean():.3g} [{low:.3g}, {high:.3g}]",
        {"gradient": float(along.mean()), "random": float(random.mean()), "low": low, "high": high},
    )


def signal(cosine: float | None, draws: int) -> Check:
    """cosine: the mean c over pairs of draws' gradients by the input, the median over images; None:
    deterministic. Of gradients at unit length, as the attacks average them, c is the signal's
    energy and 1 - c the noise's."""
    told = (
        "signal",
        "The averaged gradient is signal",
        "convergence",
        f"draws x c / (1 - c) >= {SIGNAL:g}, c the cosine of two draws' gradients by the input",
        "Athalye et al. 2018, 4; Gao et al. 2022",
    )
    if cosine is None:
        return Check(*told, "skipped", "nothing is random, or no gradient is left")  # type: ignore[arg-type]
    passed = draws * cosine >= SIGNAL * (1 - cosine)
    return Check(
        *told,  # type: ignore[arg-type]
        "pass" if passed else "fail",
        f"cosine {cosine:.3g}, {draws} draws",
        {"cosine": cosine, "draws": draws},
        "" if passed else "audit.draws",
    )


def wilson(count: int, n: int, level: float) -> Interval:
    """A share's interval by Wilson's formula."""
    z, p = NormalDist().inv_cdf((1 + level) / 2), count / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    return Interval(p, max(0.0, centre - half), min(1.0, centre + half))


def _why(missing: str) -> str:
    if missing == TITLES["transfer"]:
        return "there is no trained twin"
    return "nothing is random" if "draws" in missing or "random" in missing else "not run"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _points(gap: Interval) -> str:
    return f"{100 * gap.estimate:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] points"

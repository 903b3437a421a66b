"""Checks that compare two attacks, each a stated rule. Pure.

A comparison fails where the interval of a difference (paired over images, clustered:
`scores.difference`) lies on the wrong side of zero. The comparisons of a kind, those of masking
with two measured rules, share an error of 5% (Bonferroni), so that an honest network fails any of
them in 5 audits of 100 at most.
docs/audit.md has the reasons.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ..results.scores import Answers, difference
from .check import ATHALYE, CARLINI, ERROR, LEVEL, Check, Kind, Status, percent, points


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
    "transfer": "transferred from the surrogate",
    "omniscient": "computed without randomness",
    "steps": "APGD-CE, twice the steps",
    "draws": "APGD-CE, twice the draws",
    "restarts": "APGD-CE, twice the restarts",
    "double": "twice epsilon",
    "large": "half the range",
    "white": "the strongest by gradients",
    "best": "each image's best of all",
}

COMPARISONS = (
    Comparison("single_step", "Iterated beats single-step", "masking", "fgsm", "eot", ATHALYE),
    Comparison("square", "Gradients beat none", "masking", "square", "white", ATHALYE),
    Comparison("transfer", "Gradients beat transfer", "masking", "transfer", "white", ATHALYE),
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
    Comparison(
        *("omniscient", "Averaged draws beat none", "convergence"),
        *("omniscient", "white", "Athalye et al. 2018, 4"),
        "audit.draws",
    ),
)
"""The attack must not gain either: where it does, its budget was too small."""

AVERAGES = Comparison(
    *("averages", "Averaging over draws does not help", "masking", "pgd", "eot", ATHALYE)
)
"""Of random networks. No average is stronger by construction: rare draws with long gradients can
mislead it, and an attack that they mislead says nothing."""

ONE_DRAW = Comparison(
    *("one_draw", "One draw a step suffices", "randomness", "eot", "pgd"),
    "Athalye et al. 2018, 4; Gao et al. 2022",
)


def white(answers: Mapping[str, Answers], names: Sequence[str]) -> str:
    """The strongest of the white-box attacks that were run."""
    return min((n for n in names if n in answers), key=lambda n: answers[n].accuracy)


def compare(
    c: Comparison,
    answers: Mapping[str, Answers],
    among: Sequence[str],
    level: float,
    *,
    paired: bool = True,
    further: float = 1.0,
) -> Check:
    """One comparison, and how much it may hide.

    Args:
        among: the white-box attacks.
        level: of the interval that decides whether it fails.
        paired: whether both attacks were scored on the same draws.
        further: how often such a gain could still follow (`power.doublings`).
    """
    found = {n: white(answers, among) if n == "white" else n for n in (c.weak, c.strong)}
    told = (c.name, c.title, c.kind, c.rule, c.source)
    missing = [TITLES[n] for n in found.values() if n not in answers]
    if missing:
        why = _why(missing[0], random="draws" in answers)
        return Check(*told, "skipped", f"{' and '.join(missing)}: {why}")
    weak, strong = (answers[found[n]] for n in (c.weak, c.strong))
    gap = difference([strong], [weak], level=level, same_draws=paired, more=None)
    limit = difference([strong], [weak], level=LEVEL, same_draws=paired, more=None)
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
        f"{percent(strong.accuracy)} under {names[0]}, {percent(weak.accuracy)} under "
        f"{names[1]}: difference {points(gap)}"
    )
    hides = further * max(0.0, limit.high)
    status: Status = "fail" if failed else "pass"
    return Check(*told, status, reason, figures, c.remedy if failed else "", hides)


def share(which: Sequence[Comparison], answers: Mapping[str, Answers], others: int = 0) -> float:
    """Each check's part of ERROR: of the comparisons that were run and so many others."""
    run = [c for c in which if all(n in answers or n == "white" for n in (c.weak, c.strong))]
    return ERROR / max(1, len(run) + others)


def comparisons(
    which: Sequence[Comparison],
    answers: Mapping[str, Answers],
    among: Sequence[str],
    error: float | None = None,
    *,
    paired: bool = True,
    further: Mapping[str, float] | None = None,
) -> list[Check]:
    """error: of each, one-sided; None: they share ERROR among themselves; further: by name."""
    each = share(which, answers) if error is None else error
    more = further or {}
    return [
        compare(c, answers, among, 1 - 2 * each, paired=paired, further=more.get(c.name, 1.0))
        for c in which
    ]


def _why(missing: str, random: bool) -> str:
    if missing == TITLES["transfer"]:
        return "there is no trained surrogate"
    if missing == TITLES["omniscient"] and random:
        return "another's draws cannot be left out"
    return "nothing is random" if "draws" in missing or "random" in missing else "not run"

"""From checks to a verdict in words. Pure.

In this order:

    inconclusive   the harness is wrong: an attack of size 0 does something
    masked         a gradient attack loses to what it must beat: its figures say nothing; a gradient
                   that does not explain the slope is no more than a warning once the best attack
                   leaves less than the claim: many a straight-through gradient breaks its network
    no claim       none was made: what is left, with its interval, and what was checked
    masked         the ordinary attack, one draw a step, leaves more than the claim, while
                   averaging leaves significantly less and the best attack no more than the claim
    not robust     the best attack leaves no more than the claim
    inconclusive   its interval holds the claim, the attack has not converged, or a check could not
                   have seen what matters (`power`): the budget that would do is asked for
    robust         what is left
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..results.scores import Answers, Interval, interval
from . import power
from .check import Check

MASKED = "masked"
ROBUST = "robust at the stated level"
NOT_ROBUST = "not robust at the stated level"
UNCLAIMED = "no claim: accuracy as measured"
INCONCLUSIVE = "inconclusive: run "


@dataclass(frozen=True)
class Verdict:
    """words: one of the above; reason: why; accuracy: what each image's best example leaves;
    level: the claim, if any; remedy: the settings that might settle an inconclusive one."""

    words: str
    reason: str
    level: float | None
    strongest: str
    accuracy: Interval
    remedy: dict[str, int] = field(default_factory=dict)


def verdict(
    checks: Sequence[Check],
    answers: Mapping[str, Answers],
    level: float | None,
    strongest: str,
    budget: Mapping[str, int],
    most: Mapping[str, int],
    random: bool = False,
) -> Verdict:
    """level: the robust accuracy that is claimed, in (0, 1], None: none; budget: settings by their
    key; most: the largest of those that narrow the interval; random: whether the network is."""
    left = interval([answers["best"]])

    def say(words: str, reason: str) -> Verdict:
        return Verdict(words, reason, level, strongest, left)

    failed = {kind: [c for c in checks if c.status == "fail" and c.kind == kind] for kind in KINDS}
    amount = f"{_share(left)} of accuracy is left"
    amount += "" if level is None else f", the stated level is {100 * level:.1f}%"
    if failed["harness"]:
        titles = _titles(failed["harness"])
        return say(f"{INCONCLUSIVE}the audit again on a sound harness", f"failed: {titles}")
    lost = [c for c in failed["masking"] if c.name != "slope"]
    broken = level is not None and left.high <= level
    if lost or (failed["masking"] and not broken):
        reason = (
            f"gradient attacks lose to what they must beat: {_titles(failed['masking'])}"
            if lost
            else "gradient attacks follow a gradient that is not the network's: "
            + _titles(failed["masking"])
        )
        return say(MASKED, f"{reason}; {amount}")
    if level is None:
        return say(UNCLAIMED, f"{amount}; {_checked(checks)}")
    if left.high <= level:
        seems = interval([answers["pgd"]])
        if failed["randomness"] and seems.low > level:
            reason = f"one draw a step leaves {_share(seems)}, and better attacks do not"
            return say(MASKED, f"{reason}; {amount}")
        return say(NOT_ROBUST, amount)
    reasons: list[str] = []
    more: dict[str, int] = {}
    if left.low <= level:
        reasons.append("the interval holds the level")
        key = next((key for key, top in most.items() if budget[key] < top), None)
        more |= {key: min(4 * budget[key], most[key])} if key else {}
    if failed["convergence"]:
        reasons.append(f"the attack has not converged: {_titles(failed['convergence'])}")
        setting = max(failed["convergence"], key=_gain).remedy
        more |= {setting: 2 * budget[setting]}
    if not reasons:
        reasons, more = _lacking(checks, left, level, budget, most, random)
    if not reasons:
        return say(ROBUST, amount)
    without = "it on more data"
    if any(_unmeasurable(c) and c in power.powerless(checks, left, level) for c in checks):
        without = "it with draws that seeds control"
    words = " ".join(f"{key}={value}" for key, value in more.items()) or without
    reason = f"{'; '.join(reasons)}; {amount}"
    return Verdict(INCONCLUSIVE + words, reason, level, strongest, left, more)


KINDS = ("harness", "masking", "randomness", "convergence")


def _lacking(
    checks: Sequence[Check],
    left: Interval,
    level: float,
    budget: Mapping[str, int],
    most: Mapping[str, int],
    random: bool,
) -> tuple[list[str], dict[str, int]]:
    """Why what is left above the claim shows nothing, and the budget that would do."""
    reasons: list[str] = []
    more = power.below_floor(budget, random)
    if more:
        least = ", ".join(f"{key} at least {value}" for key, value in more.items())
        reasons.append(f"too small a budget for any claim: {least}")
    blind = power.powerless(checks, left, level)
    if not blind:
        return reasons, more
    shown = ", ".join(f"{100 * (c.hides or 0):.1f} by '{c.title}'" for c in blind)
    matters = 100 * (left.low - level)
    reasons.append(f"checks may hide as much as matters ({matters:.1f} points): up to {shown}")
    by_images = [c for c in blind if c.name != "draws_met" and not _unmeasurable(c)]
    needed = power.images(by_images, left, level, _n(budget))
    if by_images:
        wanted = min(needed, most["audit.images"])
        if wanted > _n(budget):
            more["audit.images"] = wanted
        if needed > most["audit.images"]:
            reasons[-1] += f" (about {needed} images would do)"
    for c in blind:
        if c.name == "draws_met" and budget["audit.scored"] < most.get("audit.scored", 0):
            wanted = power.scored(left, level, c.figures["draws"], budget["audit.scored"])
            more["audit.scored"] = min(wanted, most["audit.scored"])
        setting = {"steps_enough": "audit.steps", "draws_enough": "audit.draws"}.get(c.name)
        if setting and power.doublings(setting, budget) > 1:
            more[setting] = max(more.get(setting, 0), 2 * budget[setting])
    return reasons, more


def _unmeasurable(check: Check) -> bool:
    """Whether no budget lets the check see anything: no more images make draws controllable."""
    return check.name == "slope" and check.status == "skipped"


def _n(budget: Mapping[str, int]) -> int:
    return budget["audit.images"]


def _checked(checks: Sequence[Check]) -> str:
    """What was checked, and what did not hold."""
    found = [f"{sum(c.status == 'pass' for c in checks)} of {len(checks)} checks pass"]
    for status, word in (("fail", "failed"), ("skipped", "not run")):
        these = [c for c in checks if c.status == status]
        if these:
            found.append(f"{word}: {_titles(these)}")
    return "; ".join(found)


def _titles(checks: Sequence[Check]) -> str:
    return ", ".join(f"'{c.title}'" for c in checks)


def _gain(check: Check) -> float:
    """What the attack that is better took; 0 where a check compares none (`signal`)."""
    return float(check.figures.get("difference", {}).get("estimate", 0.0))


def _share(found: Interval) -> str:
    return f"{100 * found.estimate:.1f}% [{100 * found.low:.1f}, {100 * found.high:.1f}]"

"""From checks to a verdict in words. Pure.

In this order:

    inconclusive   the harness is wrong: an attack of size 0 does something
    masked         a gradient attack loses to what it must beat: its figures say nothing
    masked         the ordinary attack, one draw a step, leaves more than the level, while
                   averaging leaves significantly less and the best attack no more than the level
    not robust     the best attack leaves no more than the level
    inconclusive   its interval holds the level, or the attack has not converged: more data, and of
                   the attack's settings the one that gains most, are asked for
    robust         what is left
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..results.scores import Answers, Interval, interval
from .check import Check

MASKED = "masked"
ROBUST = "robust at the stated level"
NOT_ROBUST = "not robust at the stated level"
INCONCLUSIVE = "inconclusive: run "


@dataclass(frozen=True)
class Verdict:
    """words: one of the above; reason: why; accuracy: what each image's best example leaves;
    remedy: the settings that might settle an inconclusive one."""

    words: str
    reason: str
    level: float
    strongest: str
    accuracy: Interval
    remedy: dict[str, int] = field(default_factory=dict)


def verdict(
    checks: Sequence[Check],
    answers: Mapping[str, Answers],
    level: float,
    strongest: str,
    budget: Mapping[str, int],
    most: Mapping[str, int],
) -> Verdict:
    """level: the robust accuracy that is claimed, in [0, 1]; budget: settings by their key; most:
    the largest of those that narrow the interval."""
    left = interval([answers["best"]])

    def say(words: str, reason: str) -> Verdict:
        return Verdict(words, reason, level, strongest, left)

    def ask(reason: str, more: dict[str, int]) -> Verdict:
        words = " ".join(f"{key}={value}" for key, value in more.items()) or "it on more data"
        reason = f"{reason}; {amount}"
        return Verdict(INCONCLUSIVE + words, reason, level, strongest, left, more)

    failed = {kind: [c for c in checks if c.status == "fail" and c.kind == kind] for kind in KINDS}
    amount = f"{_share(left)} of accuracy is left, the stated level is {100 * level:.1f}%"
    if failed["harness"]:
        titles = _titles(failed["harness"])
        return say(f"{INCONCLUSIVE}the audit again on a sound harness", f"failed: {titles}")
    if failed["masking"]:
        reason = f"gradient attacks lose to what they must beat: {_titles(failed['masking'])}"
        return say(MASKED, f"{reason}; {amount}")
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
    return ask("; ".join(reasons), more) if reasons else say(ROBUST, amount)


KINDS = ("harness", "masking", "randomness", "convergence")


def _titles(checks: Sequence[Check]) -> str:
    return ", ".join(f"'{c.title}'" for c in checks)


def _gain(check: Check) -> float:
    """What the attack that is better took; 0 where a check compares none (`signal`)."""
    return float(check.figures.get("difference", {}).get("estimate", 0.0))


def _share(found: Interval) -> str:
    return f"{100 * found.estimate:.1f}% [{100 * found.low:.1f}, {100 * found.high:.1f}]"

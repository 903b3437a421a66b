"""Whether an audit could have seen what matters, and what budget would. Pure.

A claim stands if the accuracy that is left stays above it after all that the checks may have
overlooked. Each check tells how much that is at most (`Check.hides`: the upper limit of the
accuracy by which its stronger attack could still lower what is left). The claim c is shown where

    low - max_k hides_k > c

with `low` the lower limit of the accuracy that is left. A false claim is shown only if the limit of
the one check that meets the fault fails, or that of the accuracy does: no more often than either.

What no check measures needs a least budget (FLOORS): two steps cannot tell what a hundred find.
"""

import math
from collections.abc import Mapping, Sequence

from ..results.scores import Interval
from .check import LEVEL, Check

REFERENCE = {"audit.steps": 100, "audit.draws": 40}
"""Budgets that are taken for large: a gain of one doubling may come again until there."""

FLOORS = {"audit.steps": 10, "audit.queries": 50}
"""Conventions: below, a check by that budget has no power whatever it says."""

FLOORS_RANDOM = {"audit.draws": 5, "audit.scored": 20}
"""The same of a random network."""


def doublings(setting: str, budget: Mapping[str, int]) -> float:
    """How many are left until REFERENCE, at least one."""
    return max(1.0, math.log2(REFERENCE[setting] / budget[setting]))


def below_floor(budget: Mapping[str, int], random: bool) -> dict[str, int]:
    """The settings that are too small for any claim, with the least that is not."""
    floors = FLOORS | (FLOORS_RANDOM if random else {})
    return {key: least for key, least in floors.items() if budget[key] < least}


def powerless(checks: Sequence[Check], left: Interval, claim: float) -> list[Check]:
    """The checks that may hide as much as stands between what is left and the claim."""
    matters = left.low - claim
    return [c for c in checks if c.hides is not None and c.hides >= matters]


def images(checks: Sequence[Check], left: Interval, claim: float, now: int) -> int:
    """How many would do if limits narrow as 1 / sqrt(images), and the estimates stay."""
    room = left.estimate - claim
    wide = left.estimate - left.low + max((c.hides or 0.0 for c in checks), default=0.0)
    if room <= 0:
        return 4 * now
    return max(now + 1, math.ceil(now * min(100.0, (wide / room) ** 2 * 1.1)))


def scored(left: Interval, claim: float, draws: int, now: int) -> int:
    """How many draws would do for `checks.draws_met`; draws: independent ones there are now."""
    share = min(0.99, max(1e-3, (left.low - claim) / 2 / max(left.estimate, 1e-9)))
    needed = math.log((1 - LEVEL) / 2) / math.log(1 - share)
    return max(now + 1, math.ceil(now * needed / draws))

"""What a check of an audit is, and how its figures are told."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..results.scores import Interval

Kind = Literal["harness", "masking", "randomness", "convergence"]
Status = Literal["pass", "fail", "skipped"]

ERROR = 0.05  # the chance that an honest network fails any check of a kind
LEVEL = 0.95  # of the intervals that a verdict stands on, both sides together
ATHALYE, CARLINI = "Athalye et al. 2018, 3.1", "Carlini et al. 2019"


@dataclass(frozen=True)
class Check:
    """What a check found.

    figures  as JSON has them; `reason` is what they say.
    remedy   the setting to double, if any.
    hides    how much accuracy may be left only because the check could not see more: the upper
             limit of what it measured, a share; None where it measures no such thing.
    """

    name: str
    title: str
    kind: Kind
    rule: str
    source: str
    status: Status
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)
    remedy: str = ""
    hides: float | None = None

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def points(gap: Interval) -> str:
    return f"{100 * gap.estimate:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] points"

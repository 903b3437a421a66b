"""What a check of an audit is, and how its figures are told."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..results.scores import Interval

Kind = Literal["harness", "masking", "randomness", "convergence"]
Status = Literal["pass", "fail", "skipped"]

ERROR = 0.05  # the chance that an honest network fails any check of a kind
ATHALYE, CARLINI = "Athalye et al. 2018, 3.1", "Carlini et al. 2019"


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


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def points(gap: Interval) -> str:
    return f"{100 * gap.estimate:+.1f} [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}] points"

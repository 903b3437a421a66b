"""From what an audit measured to its checks and its verdict. Pure: numpy, no network."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from numpy.typing import NDArray

from ..results.scores import Answers
from . import checks, power
from .attack_suite import WHITE
from .check import Check
from .comparisons import (
    AVERAGES,
    COMPARISONS,
    CONVERGED,
    ONE_DRAW,
    comparisons,
    share,
    white,
)
from .target import Budget
from .verdict import Verdict, verdict


@dataclass(frozen=True)
class Measured:
    """What the attacks and the gradients left.

    answers    by attack; `at_epsilon` names those of the claim's size.
    moved      the largest change of an input under the attack of size 0.
    blind      [N], images whose gradient vanishes in every draw.
    along      [N], how much the margin rises a quarter of epsilon along the gradient's sign.
    beside     [N], the same along random signs.
    explained  [N], the share of an image's slope that its gradient explains (`slopes`).
    cosine     of two draws' gradients; None: deterministic.
    available  images that there are, `images` of which were audited.
    shared     whether a batch meets one draw; None: nothing is random.
    controlled whether all attacks were scored on the same draws.
    batches    that the images were scored in, each under draws of its own.
    most_frequent  share of the images that have the most frequent label.
    """

    answers: Mapping[str, Answers]
    at_epsilon: Sequence[str]
    moved: float
    blind: NDArray[Any]
    along: NDArray[Any]
    beside: NDArray[Any]
    explained: NDArray[Any] | None
    cosine: float | None
    images: int
    available: int
    classes: int
    shared: bool | None = None
    controlled: bool = True
    batches: int = 1
    most_frequent: float = 0.0

    @property
    def random(self) -> bool:
        return self.shared is not None


def judge(m: Measured, budget: Budget, claim: float | None) -> tuple[list[Check], Verdict]:
    """The checks in the order of the page, and the verdict; claim None: none."""
    chance = max(1 / m.classes, m.most_frequent)
    settings = {f"audit.{name}": value for name, value in asdict(budget).items()}
    settings["audit.images"] = m.images
    masking = [*COMPARISONS, *([AVERAGES] if m.random else [])]
    error = share(masking, m.answers, others=len(checks.MEASURED))
    further = {
        "steps_enough": power.doublings("audit.steps", settings),
        "draws_enough": power.doublings("audit.draws", settings),
    }
    best = m.answers["best"]
    met = best.draws * (m.batches if m.shared else m.images)
    paired = m.controlled
    one_draw = [ONE_DRAW] if m.random else []
    made = [
        checks.zero_epsilon(m.answers, m.moved, paired),
        *comparisons(masking, m.answers, WHITE, error, paired=paired),
        checks.unbounded(m.answers, chance, error),
        checks.vanishing(m.blind, error),
        checks.slope(m.explained, error),
        checks.direction(m.along, m.beside),
        *_without_limit(comparisons(one_draw, m.answers, WHITE, paired=paired)),
        checks.draws_met(best.accuracy, met, m.shared),
        checks.signal(m.cosine, budget.draws, m.random),
        *comparisons(CONVERGED, m.answers, WHITE, paired=paired, further=further),
    ]
    most = {"audit.images": m.available}
    if m.random:
        most["audit.scored"] = 255  # a row's byte
    strongest = white(m.answers, m.at_epsilon)
    return made, verdict(made, m.answers, claim, strongest, settings, most, m.random)


def _without_limit(made: list[Check]) -> list[Check]:
    """One draw a step may well leave more: that says nothing of what averages leave."""
    return [replace(check, hides=None) for check in made]

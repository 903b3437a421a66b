"""How long work takes, by what the same kind of work took here."""

from collections.abc import Iterable
from statistics import median
from typing import TYPE_CHECKING

from .. import config as cfg
from ..config import Config
from ..report.caption import duration
from ..results.passes import gradients, passes
from ..results.row import OUTSIDE, Row
from .inventory import Training
from .work import Work

if TYPE_CHECKING:
    from ..attacks import Attack


class Rates:
    """Seconds an epoch, and a pass of an image, by kind of work, from what was measured.

    Epochs by their median: one may hold a pause, or what was left after a stop.
    """

    def __init__(self, made: Iterable[Training], rows: Iterable[Row]) -> None:
        epochs: dict[object, list[float]] = {}
        for each in made:
            epochs.setdefault(kind_of_training(each.config), []).extend(each.seconds)
        self.epoch = {kind: median(s) for kind, s in epochs.items() if s}
        passed: dict[object, list[tuple[float, int]]] = {}
        self.images: dict[str, int] = {}
        for row in rows:
            averaged = gradients(row.averaged, row.knowledge, row.random)
            work = row.n * passes(row.scored, row.steps, averaged, row.settings)
            passed.setdefault(kind_of_row(row), []).append((row.seconds, work))
            if row.subset.startswith("all "):
                self.images[row.dataset] = row.n
        self.one = {k: sum(s for s, _ in m) / sum(w for _, w in m) for k, m in passed.items()}

    def of(self, work: Work) -> tuple[float, int, int]:
        """Seconds, and how many trainings and rows have no estimate."""
        seconds, strange, unseen = 0.0, 0, 0
        for config, epochs in work.trainings.values():
            rate = self.epoch.get(kind_of_training(config))
            seconds += (rate or 0) * epochs
            strange += rate is None
        for each in work.scorings.values():
            rate = self.one.get(each.kind)
            images = each.images or self.images.get(str(each.kind[0]))
            if rate is None or images is None:
                unseen += 1
            else:
                seconds += rate * images * each.passes
        return seconds, strange, unseen


def estimate(seconds: float, strange: int, unseen: int, panels: int = 0) -> str:
    """In words; what was never measured is counted and not guessed."""
    parts = [f"about {duration(seconds)}"] if seconds else []
    counted = ((strange, "network"), (unseen, "row"), (panels, "panel"))
    gaps = [f"{n} {what}{'s' * (n > 1)}" for n, what in counted if n]
    if gaps:
        parts.append(f"no estimate for {' and '.join(gaps)}")
    return ", ".join(parts) or "—"


def kind_of_scoring(c: Config, attack: "Attack | None") -> tuple[object, ...]:
    """Of a row to be made, as `kind_of_row` tells it of one that is there."""
    kind = (c.dataset.name, c.model.name, c.model.width, c.precision.name, cfg.is_random(c))
    apart = attack.name if attack and (attack.name == OUTSIDE or attack.ended) else ""
    return (*kind, cfg.batchnorm(c), c.scale.name, apart, c.eval.autocast)


def kind_of_row(row: Row) -> tuple[object, ...]:
    kind = (row.dataset, row.model, row.width, row.precision, row.random)
    apart = row.attack if row.attack == OUTSIDE or row.outcomes else ""  # with times of their own
    return (*kind, row.batchnorm, row.scale, apart, _precision(row))


def _precision(row: Row) -> str:
    """Of attack and scoring; older rows did not keep it, and the short scales had bfloat16."""
    return row.autocast or ("bfloat16" if row.scale in ("cpu", "fast") else "float32")


def kind_of_training(c: Config) -> tuple[object, ...]:
    conv, perturb = c.defence.conv, c.defence.perturb
    kind = (c.dataset.name, c.model.name, c.model.width, c.precision.name, c.scale.name)
    how = (conv is not None, cfg.has_random_kernels(c.defence), perturb and perturb.name)
    return (*kind, *how, c.train.batch_size, c.train.images, c.train.autocast)

"""What the tables of a scale still lack, and how long it takes by what was measured here."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from .. import config as cfg
from ..config import Config
from ..errors import in_one_line
from ..report.caption import duration
from ..results import landscape_panels, store
from ..results.row import OUTSIDE, Row
from ..system.progress import bar
from ..system.table import console
from ..tables import landscapes
from ..tables.catalogue import catalogue
from ..tables.table_spec import folder_of, laid, precision_words
from .inventory import Training, listed, size, trainings

if TYPE_CHECKING:
    from ..attacks import Attack


@dataclass(frozen=True)
class Scoring:
    """A row to be made: its key but for the data, and what decides its time."""

    recipe: str
    protocol: str
    seed: int
    kind: tuple[object, ...]
    images: int | None
    passes: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.recipe, self.protocol, self.seed


@dataclass
class Work:
    """Networks to train, by recipe, with the epochs that are left, and rows to make."""

    trainings: dict[str, tuple[Config, int]] = field(default_factory=dict)
    scorings: dict[tuple[str, str, int], Scoring] = field(default_factory=dict)

    def add(self, other: "Work") -> None:
        self.trainings |= other.trainings
        self.scorings |= other.scorings


class Rates:
    """Seconds an epoch, and a pass of an image, by kind of work, from what was measured.

    Epochs by their median: one may hold a pause, or what was left after a stop.
    """

    def __init__(self, made: Iterable[Training], rows: Iterable[Row]) -> None:
        epochs: dict[object, list[float]] = {}
        for each in made:
            epochs.setdefault(_kind_of_training(each.config), []).extend(each.seconds)
        self.epoch = {kind: median(s) for kind, s in epochs.items() if s}
        passed: dict[object, list[tuple[float, int]]] = {}
        self.images: dict[str, int] = {}
        for row in rows:
            work = row.n * _passes(row.steps, row.averaged if row.random else 1, row.scored)
            passed.setdefault(_kind_of_row(row), []).append((row.seconds, work))
            if row.subset.startswith("all "):
                self.images[row.dataset] = row.n
        self.one = {k: sum(s for s, _ in m) / sum(w for _, w in m) for k, m in passed.items()}

    def of(self, work: Work) -> tuple[float, int, int]:
        """Seconds, and how many trainings and rows have no estimate."""
        seconds, strange, unseen = 0.0, 0, 0
        for config, epochs in work.trainings.values():
            rate = self.epoch.get(_kind_of_training(config))
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


def lacking(
    jobs: Iterable[Config], rows: Iterable[Row], own: Iterable[Row], made: Sequence[Training]
) -> tuple[int, int, Work]:
    """How many cells the jobs of a table fill, how many have no row, and what a run would do.

    rows  all that a table is made of; own  those of this runs folder, from which a run goes on.
    """
    from ..experiment.plan import attacks, seeds
    from ..experiment.released_networks import recipes

    have = {(row.recipe, row.protocol, row.eval_seed) for row in rows}
    mine = {(row.recipe, row.protocol, row.eval_seed) for row in own}
    trained = {cfg.train_config_hash(each.config): each for each in made}
    cells: dict[tuple[object, ...], bool] = {}  # whether one has no row
    work = Work()
    for number, config in enumerate(jobs):
        wanted = [
            [_scoring(config, attack, steps, seed) for seed in seeds(config)]
            for attack, steps in _taken(config, [None, *attacks(config)])
        ]
        there = [[each.key in have for each in line] for line in wanted]
        # as the report counts: a cell with rows of some seeds has a number already
        cells |= {(number, *w[0].key): not any(of) for w, of in zip(wanted, there, strict=True)}
        if all(map(all, there)):
            continue
        work.scorings |= {
            each.key: each for line in wanted for each in line if each.key not in mine
        }
        ready = recipes(config)
        for each in (*cfg.needed_by(config), config):
            recipe = cfg.train_config_hash(each)
            left = trained[recipe].left if recipe in trained else each.train.epochs
            if left and (recipe in trained or recipe not in ready):
                work.trainings[recipe] = each, left
    return len(cells), sum(cells.values()), work


def _taken(
    config: Config, aimed: Sequence["Attack | None"]
) -> Iterator[tuple["Attack | None", int]]:
    """Each attack with the steps that it takes beyond the one that it continues."""
    from ..attacks import group_by_steps

    images, size = config.eval.images, config.eval.batch_size
    for group in group_by_steps(aimed, together=images is not None and images <= size):
        taken = [0, *(attack.steps for attack in group)] if group else [0, 0]
        aims: Sequence[Attack | None] = group or [None]
        yield from zip(aims, (b - a for a, b in pairwise(taken)), strict=True)


def _scoring(config: Config, attack: "Attack | None", steps: int, seed: int) -> Scoring:
    from ..experiment.evaluation_config import eval_config_hash

    c, random = config, cfg.is_random(config)
    kind = (c.dataset.name, c.model.name, c.model.width, c.precision.name, random)
    apart = attack.name if attack and (attack.name == OUTSIDE or attack.ended) else ""
    averaged = attack.draws if attack and random else 1
    return Scoring(
        cfg.train_config_hash(c),
        eval_config_hash(c, attack),
        seed,
        (*kind, cfg.batchnorm(c), c.scale.name, apart, c.eval.autocast),
        c.eval.images,
        _passes(steps, averaged, c.eval.draws),
    )


def _kind_of_row(row: Row) -> tuple[object, ...]:
    kind = (row.dataset, row.model, row.width, row.precision, row.random)
    apart = row.attack if row.attack == OUTSIDE or row.outcomes else ""  # with times of their own
    return (*kind, row.batchnorm, row.scale, apart, _precision(row))


def _precision(row: Row) -> str:
    """Of attack and scoring; older rows did not keep it, and the short scales had bfloat16."""
    return row.autocast or ("bfloat16" if row.scale in ("cpu", "fast") else "float32")


def _kind_of_training(c: Config) -> tuple[object, ...]:
    conv, perturb = c.defence.conv, c.defence.perturb
    kind = (c.dataset.name, c.model.name, c.model.width, c.precision.name, c.scale.name)
    how = (conv is not None, cfg.has_random_kernels(c.defence), perturb and perturb.name)
    return (*kind, *how, c.train.batch_size, c.train.images, c.train.autocast)


def _passes(steps: int, averaged: int, scored: int) -> int:
    """Forward passes an image, a gradient counted as two more; about."""
    return scored + 3 * steps * averaged


def estimate(seconds: float, strange: int, unseen: int, panels: int = 0) -> str:
    """In words; what was never measured is counted and not guessed."""
    parts = [f"about {duration(seconds)}"] if seconds else []
    counted = ((strange, "network"), (unseen, "row"), (panels, "panel"))
    gaps = [f"{n} {what}{'s' * (n > 1)}" for n, what in counted if n]
    if gaps:
        parts.append(f"no estimate for {' and '.join(gaps)}")
    return ", ".join(parts) or "—"


def overview(overrides: Sequence[str] = (), names: Sequence[str] | None = None) -> str:
    """What there is in paths.runs and paths.results, and what each table at the scale lacks."""
    config = cfg.composed(overrides)
    runs, results = Path(config.paths.runs), Path(config.paths.results)
    made = trainings(runs / "checkpoints")
    own = store.read([runs / "rows"])
    every = store.read([runs / "rows", *sorted(results.glob("*/rows"))])
    rates = Rates(made, every)
    kept = (
        p for path in sorted(results.glob("*/figure*.npz")) for p in landscape_panels.load(path)
    )
    pace = landscape_panels.pace([*landscape_panels.read(runs / "landscapes"), *kept])
    lines, total = [], Work()
    known = list(catalogue(overrides, names))
    for each in bar(known, len(known), "reading the configuration", "tables"):
        name = each.experiment.name
        if not each.experiment.columns:
            there = "there" if (folder_of(config) / f"{name}.png").is_file() else "not made"
            lines.append(
                [name, f"figure {there}", "—", "—", "—" if there == "there" else "no estimate"]
            )
            continue
        named = precision_words(laid(name, overrides).config) if each.autocast_auto else ()
        jobs = cfg.jobs([f"experiment={name}", *overrides, *named])
        cells, missing, work = lacking(jobs, every, own, made)
        total.add(work)
        counts = [len(work.trainings), len(work.scorings)]
        told = [str(count or "—") for count in counts]
        what, (seconds, *unknown) = f"{missing} of {cells}", rates.of(work)
        if each.landscape:
            words = [f"experiment={name}", *overrides, *named]
            count, lacks = landscapes.lacking(each, words, folder_of(config) / f"{name}.npz")
            what = f"{len(lacks)} of {count} panels"
            costs = [pace.get(draws > 0) for draws in lacks]
            unknown.append(costs.count(None))
            grid = each.landscape.points**2
            seconds += sum(grid * max(1, d) * (c or 0) for d, c in zip(lacks, costs, strict=True))
        lines.append([name, what, *told, estimate(seconds, *unknown)])
    counts = [len(total.trainings), len(total.scorings)]
    lines.append(["all of them", "", *map(str, counts), estimate(*rates.of(total))])
    hardware = "; ".join(sorted({each.hardware for each in made} | {row.hardware for row in every}))
    scale = config.scale.name
    heads = ["table", "cells missing", "to train", "rows to make", "time"]
    return "\n".join(
        [
            f"{len(made)} checkpoints in {runs}, {size(sum(each.size for each in made))}",
            "",
            listed(made, every),
            "",
            "Accuracies in %, means over evaluation seeds; ~: after its last epoch, no rows yet.",
            "",
            f"What the tables at {scale} scale lack (make reproduce-TABLE SCALE={scale})",
            "",
            console([heads, *lines], left=(0, 4)),
            "",
            "Times by the same kind of work, measured on: " + (hardware or "nothing yet"),
        ]
    )


def main() -> None:
    """python scripts/list.py [key=value ...]"""
    with in_one_line("paths.runs"):
        print(overview(sys.argv[1:]))

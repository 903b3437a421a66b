"""What there is, what the tables of a scale still lack, and how long that takes."""

import sys
from collections.abc import Sequence
from pathlib import Path

from .. import config as cfg
from ..errors import in_one_line
from ..experiment.released_networks import entries
from ..results import landscape_panels, store
from ..system.progress import bar
from ..system.table import console
from ..tables import landscapes
from ..tables.catalogue import catalogue
from ..tables.table_spec import laid
from .inventory import listed, of_code_at_hand, size, trainings
from .lacking import lacking
from .rates import Rates, estimate
from .work import Work


def overview(overrides: Sequence[str] = (), names: Sequence[str] | None = None) -> str:
    """What there is in paths.runs and paths.results, and what each table at the scale lacks."""
    config = cfg.composed(overrides)
    runs, results = Path(config.paths.runs), Path(config.paths.results)
    made = trainings(runs / "checkpoints")
    own = store.read([runs / "rows"])
    every = store.read([runs / "rows", *sorted(results.glob("*/rows"))])
    usable, strange = of_code_at_hand(made)
    released = {each.weights: each.name for each in entries(overrides).values()}
    rates = Rates(usable, every)
    kept = (
        p for path in sorted(results.glob("*/figure*.npz")) for p in landscape_panels.load(path)
    )
    pace = landscape_panels.pace([*landscape_panels.read(runs / "landscapes"), *kept])
    lines, total = [], Work()
    known = list(catalogue(overrides, names))
    for each in bar(known, len(known), "reading the configuration", "tables"):
        name = each.experiment.name
        layout = laid(name, overrides)
        work = lacking(layout.cells.values(), every, own, usable)
        total.add(work)
        cells, missing = layout.counted(every, layout.own_data(own))
        counts = [len(work.trainings), len(work.scorings)]
        told = [str(count or "—") for count in counts]
        what, (seconds, *unknown) = f"{missing} of {cells}", rates.of(work)
        if each.landscape:
            words = [f"experiment={name}", *layout.overrides]
            count, lacks = landscapes.lacking(
                each, layout.cells, words, layout.folder / f"{name}.npz"
            )
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
            listed(made, every, released),
            "",
            "Accuracies in %, means over evaluation seeds; ~: after its last epoch, no rows yet.",
            *strange,
            "",
            f"What the tables at {scale} scale lack (make reproduce-TABLE SCALE={scale})",
            "",
            console([heads, *lines], left=(0, 4)),
            "",
            f"Rows to make: all that {runs} lacks, even those that {results} has.",
            "Times by the same kind of work, measured on: " + (hardware or "nothing yet"),
        ]
    )


def main() -> None:
    """python scripts/list.py [key=value ...]"""
    with in_one_line("paths.runs"):
        print(overview(sys.argv[1:]))

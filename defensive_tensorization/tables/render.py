"""From rows to a table and a figure: which rows belong to an experiment, and where they go.

A pure function of whatever rows exist: no network, no data. Missing cells are marked.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .. import tracking
from ..errors import UsageError, in_one_line
from ..experiment import wandb_log
from ..report import (
    evidence_figure,
    fit,
    fit_networks,
    formats,
    honest,
    honest_page,
    index,
    surface,
    surface_figure,
    tables,
    width_figure,
)
from ..report.accuracy_figure import accuracy_figure
from ..report.caption import facts
from ..report.selection import select
from ..results import store
from ..results.row import Row
from . import landscapes
from .catalogue import filled_by
from .fit import held, networks
from .table_spec import Layout, kept, laid


@dataclass(frozen=True)
class Found:
    """What there is to show of an experiment; `data` is which of several its rows are of."""

    layout: Layout
    rows: list[Row]
    data: str | None

    def figure(self) -> Path:
        path = self.layout.folder / f"{self.layout.name}.png"
        path.unlink(missing_ok=True)  # of rows that are gone
        return path


def render(
    experiment: str, overrides: Sequence[str] = (), *, data: str | None = None
) -> list[Path]:
    """Collect the experiment's rows into results/<scale>/rows and render them beside it."""
    layout = laid(experiment, overrides)
    tracking.mode_of(layout.config.logger.mode)
    if layout.config.landscape:
        words = [f"experiment={experiment}", *layout.overrides]
        drawn = landscapes.render(layout.config, layout.cells, words, layout.folder, data)
        drawn.append(index.write_index(layout.folder))
        _mirror(layout, [], drawn, [])
        return drawn
    store.collect(layout.runs, layout.folder / "rows", layout.takes)
    rows = [row for row in store.read([layout.folder / "rows"]) if layout.takes(row)]
    found = Found(layout, rows, layout.own_data() if data is None else data)
    made, records = FORMS[layout.config.experiment.form](found)
    made.append(index.write_index(layout.folder))
    _mirror(layout, records, made, select(rows, layout.columns, data=found.data))
    return made


def _refill(experiment: str, overrides: Sequence[str], data: str | None) -> None:
    """Render anew what has been rendered, and shows some of this experiment's rows."""
    own = kept(overrides, ("attack", "eval"))
    for name in filled_by(experiment):
        if (laid(name, own).folder / f"{name}.md").exists():
            render(name, own, data=data)


Made = tuple[list[Path], list[formats.Record]]


def _table(found: Found) -> Made:
    layout = found.layout
    rendered = layout.filled(found.rows, found.data, averaged(layout, found.data))
    made = formats.write(rendered, layout.folder)
    figure = found.figure()
    made += accuracy_figure(rendered, found.rows, layout.published, figure)
    shown = layout.config.experiment.drawn
    label = layout.config.experiment.columns[shown] if shown else ""
    if rendered.compares and any(
        rendered.used(place) for place, c in enumerate(layout.columns) if c.label == label
    ):
        path = layout.folder / f"{layout.name}_evidence.png"
        made.append(evidence_figure.draw(rendered, label, "pgd", path))
    print(formats.text(rendered))
    return made, formats.records(rendered)


def averaged(layout: Layout, data: str | None) -> dict[tuple[str, float], tables.Averaged]:
    """By label and epsilon, from the rows there are of the experiment that averages over draws."""
    of = layout.config.experiment
    if not of.averaged:
        return {}
    other = laid(of.averaged, kept(layout.overrides, ("attack", "eval")))
    rows = [row for row in store.read([layout.folder / "rows"]) if other.takes(row)]
    labels = {
        column.label: method for method, column in zip(other.cells, other.columns, strict=True)
    }
    return {
        (of.columns[labels[line.column.label]], line.epsilon): tables.Averaged(
            line.scores["mean"], line.images, line.by, line.refused, line.weights
        )
        for line in _lines(Found(other, rows, data))[0]
        if line.scores and labels[line.column.label] in of.columns
    }


def _lines(found: Found) -> tuple[list[honest.Line], list[Row]]:
    """Those of an honest table, and the rows behind them."""
    from ..experiment.plan import attacks

    layout, config = found.layout, found.layout.config
    rows = select(found.rows, (*layout.columns, *layout.surfaces.values()), data=found.data)
    of = dict(zip(layout.cells, layout.columns, strict=True))
    surfaces = {of[method]: column for method, column in layout.surfaces.items()}
    controls = {of[method]: of[control] for method, control in config.experiment.controls.items()}
    aimed = attacks(config)
    epsilons = sorted({attack.epsilon for attack in aimed})
    single = list(dict.fromkeys(attack.name for attack in aimed if not attack.options))
    made = honest.lines(
        layout.columns, rows, surfaces, epsilons, single, layout.published, controls
    )
    return made, [row for row in rows if any(column.takes(row) for column in layout.columns)]


def _honest(found: Found) -> Made:
    layout, config = found.layout, found.layout.config
    made, rows = _lines(found)
    about = (*facts(layout.columns, rows), *layout.noted(rows))
    page = honest_page.markdown(config.experiment.title, made, about, layout.columns[0].label)
    print(page)
    page += _origins(layout, rows)
    written = honest_page.write(config.experiment.name, page, made, layout.folder)
    return written, honest_page.records(made)


def _surface(found: Found) -> Made:
    layout, config = found.layout, found.layout.config
    rows = [row for row in select(found.rows, layout.columns, data=found.data) if row.correct]
    about = (*facts(layout.columns, rows), *layout.noted(rows))
    page = surface.markdown(config.experiment.title, layout.columns, rows, about)
    print(page)
    page += _origins(layout, rows)
    path = layout.folder / f"{config.experiment.name}.md"
    path.write_bytes(page.encode())
    made, figure = [path], found.figure()
    if rows:
        made.append(
            surface_figure.figure(rows, layout.columns, figure, title=config.experiment.title)
        )
    return made, surface.records(layout.columns, rows)


def _fit(found: Found) -> Made:
    layout, config = found.layout, found.layout.config
    rows = select(found.rows, layout.columns, data=found.data)
    of = held(layout)
    made = fit.fits(of, rows)
    about = (*facts(layout.columns, rows), *layout.noted(rows))
    there = networks(of, rows)
    page = fit.markdown(config.experiment.title, made, there, ("table1", "table3"), about)
    print(page)
    records = fit.records(made)
    texts = {
        ".md": page + _origins(layout, rows),
        ".csv": formats.tidy(records) if records else "",
        "_networks.csv": formats.tidy(fit_networks.records(there)) if there else "",
    }
    written = []
    for suffix, text in texts.items():
        written.append(layout.folder / f"{config.experiment.name}{suffix}")
        written[-1].write_bytes(text.encode())
    figure = found.figure()
    if width_figure.drawable(there):
        written.append(width_figure.draw(there, config.experiment.title, about, figure))
    return written, records


def _origins(layout: Layout, rows: Sequence[Row]) -> str:
    columns = ((c.label, [row for row in rows if c.takes(row)]) for c in layout.columns)
    return formats.sources(columns)


FORMS: Mapping[str, Callable[[Found], Made]] = {
    "table": _table,
    "honest": _honest,
    "surface": _surface,
    "fit": _fit,
}


def _mirror(
    layout: Layout, records: list[formats.Record], made: list[Path], rows: Sequence[Row]
) -> None:
    """The rendered table and figure as a W&B run of their own, made from files of rows."""
    config = layout.config
    with wandb_log.opened(config, "report", f"{config.experiment.name}-{config.scale.name}") as run:
        for file in sorted({f"{row.run_id}.jsonl" for row in rows}):
            own = layout.runs / file
            run.used(wandb_log.row_file(own if own.exists() else layout.folder / "rows" / file))
        if records:
            names = list(records[0])
            run.table(config.experiment.name, names, [list(r.values()) for r in records])
        for path in made:
            print(f"wrote {path}")
            if path.suffix == ".png":
                run.image(wandb_log.figure(path.stem), partial(Path, path))
        run.made(wandb_log.rendered(config, made))
        if run.path:
            print(f"W&B   {run.path}   (look at it without an account: wandb leet {run.path})")


def read_data(words: Sequence[str]) -> tuple[list[str], str | None]:
    """The words without `--data TITLE`, and that title."""
    rest = list(words)
    if "--data" not in rest:
        return rest, None
    at = rest.index("--data")
    data = (rest[at + 1 : at + 2] or [""])[0]
    if not data:
        raise UsageError("--data needs the title or the digest of the data: --data 'CIFAR-10'")
    del rest[at : at + 2]
    return rest, data


def main() -> None:
    """python scripts/render.py EXPERIMENT [key=value ...] [--data TITLE]"""
    with in_one_line("paths.results"):
        arguments, data = read_data(sys.argv[1:])
        if not arguments:
            raise UsageError(
                "name the experiment to render: python scripts/render.py table1 scale=cpu"
            )
        render(arguments[0], arguments[1:], data=data)
        _refill(arguments[0], arguments[1:], data)

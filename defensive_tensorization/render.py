"""From rows to a table and a figure: which rows belong to an experiment, and where they go.

A pure function of whatever rows exist: no network, no data. Missing cells are marked.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import config as cfg
from . import landscapes, notes, store, tracking
from .config import Config
from .errors import UsageError
from .report import figures, formats, honest, index, surface, tables
from .report.caption import Facts, facts
from .report.published import Key, elsewhere, published
from .report.selection import select
from .results import Row

PAPER = cfg.CONFIGS.parent / "results" / "paper"
FOLDER = {"paper": "paper-scale"}  # results/paper holds the published numbers


def render(
    experiment: str, overrides: Sequence[str] = (), *, data: str | None = None
) -> list[Path]:
    """Collect the experiment's rows into results/<scale>/rows and render them beside it."""
    config = cfg.composed([f"experiment={experiment}", *overrides])
    if not config.experiment.columns:
        raise UsageError(f"experiment={experiment} has no columns: it is no table")
    cells = {
        method: cfg.composed([f"experiment={experiment}", *overrides, f"method={method}"])
        for method in config.experiment.columns
    }
    tracking.mode_of(config.logger.mode)
    labels = config.experiment.columns
    named = config.experiment.published_as
    columns = tuple(
        _column(labels[method], named.get(method, method), cell) for method, cell in cells.items()
    )
    _refuse_twins(columns)
    folder = Path(config.paths.results) / FOLDER.get(config.scale.name, config.scale.name)
    if config.landscape:
        words = [f"experiment={experiment}", *overrides]
        drawn = landscapes.render(config, cells, words, folder, data)
        drawn.append(index.write_index(folder))
        _mirror(config, [], drawn)
        return drawn
    store.collect(
        Path(config.paths.runs) / "rows",
        folder / "rows",
        lambda row: _in(columns, row),
    )
    rows = [row for row in store.read([folder / "rows"]) if _in(columns, row)]
    if data is None:  # this machine's own rows stand before committed ones from other data
        own = {
            r.data_digest for r in store.read([Path(config.paths.runs) / "rows"]) if _in(columns, r)
        }
        data = own.pop() if len(own) == 1 else None
    found = Found(config, cells, columns, rows, folder, data)
    made, records = FORMS[config.experiment.form](found)
    made.append(index.write_index(folder))
    _mirror(config, records, made)
    return made


@dataclass(frozen=True)
class Found:
    """What there is to show of an experiment: its columns, their rows, and where they go."""

    config: Config
    cells: Mapping[str, Config]  # by method
    columns: tuple[tables.Column, ...]
    rows: list[Row]
    folder: Path
    data: str | None

    @property
    def notes(self) -> Facts:
        labels = self.config.experiment.columns
        return notes.settings({labels[method]: cell for method, cell in self.cells.items()})

    @property
    def published(self) -> dict[Key, float]:
        of = self.config.experiment
        return published(PAPER, of.published, **of.published_only) if of.published else {}

    def figure(self) -> Path:
        path = self.folder / f"{self.config.experiment.name}.png"
        path.unlink(missing_ok=True)  # of rows that are gone
        return path


Made = tuple[list[Path], list[formats.Record]]


def _table(found: Found) -> Made:
    from .build import attacks

    config, aimed = found.config, attacks(found.config)
    table = tables.Table(
        config.experiment.name,
        config.experiment.title,
        found.columns,
        (("clean", 0.0), *((attack.name, attack.epsilon) for attack in aimed)),
        found.notes,
    )
    reference = config.experiment.published
    copied = elsewhere(PAPER, reference) if reference else {}
    rendered = tables.render(table, found.rows, found.published, data=found.data, elsewhere=copied)
    made = formats.write(rendered, found.folder)
    figure = found.figure()
    if found.rows:
        names = tuple(dict.fromkeys(attack.name for attack in aimed))
        made.append(
            figures.robust_vs_epsilon(
                found.rows, found.columns, names, figure, title=table.title, data=found.data
            )
        )
    print(formats.text(rendered))
    return made, formats.records(rendered)


def _honest(found: Found) -> Made:
    from .build import attacks

    config = found.config
    rows = select(found.rows, found.columns, data=found.data)
    everything = store.read([found.folder / "rows", Path(config.paths.runs) / "rows"])
    aimed = attacks(config)
    epsilons = sorted({attack.epsilon for attack in aimed})
    single = [attack.name for attack in aimed if not attack.options]
    made = honest.lines(found.columns, rows, everything, epsilons, single, found.published)
    about = (*facts(found.columns, rows), *found.notes)
    page = honest.markdown(config.experiment.title, made, about, found.columns[0].label)
    print(page)
    return honest.write(config.experiment.name, page, made, found.folder), honest.records(made)


def _surface(found: Found) -> Made:
    config = found.config
    rows = [row for row in select(found.rows, found.columns, data=found.data) if row.correct]
    about = (*facts(found.columns, rows), *found.notes)
    page = surface.markdown(config.experiment.title, found.columns, rows, about)
    print(page)
    path = found.folder / f"{config.experiment.name}.md"
    path.write_bytes(page.encode())
    made, figure = [path], found.figure()
    if rows:
        made.append(surface.figure(rows, found.columns, figure, title=config.experiment.title))
    return made, surface.records(found.columns, rows)


FORMS: Mapping[str, Callable[[Found], Made]] = {
    "table": _table,
    "honest": _honest,
    "surface": _surface,
}


def _refuse_twins(columns: Sequence[tables.Column]) -> None:
    """An override of what the methods set would show one network under two labels."""
    for i, column in enumerate(columns):
        for other in columns[:i]:
            if (column.recipe, column.protocols) == (other.recipe, other.protocols):
                raise UsageError(
                    f"'{other.label}' and '{column.label}' are the same run: an override takes the "
                    "place of what the table's methods set (theta, defence, ...); leave it out"
                )


def _in(columns: Sequence[tables.Column], row: Row) -> bool:
    return any(column.takes(row) for column in columns)


def _column(label: str, paper: str, config: Config) -> tables.Column:
    """What of the rows is this method's, from its configuration alone."""
    from .build import attacks
    from .rows import protocol

    protocols = frozenset(protocol(config, attack) for attack in (None, *attacks(config)))
    if config.experiment.form == "surface":  # one of its cells is many protocols
        return tables.Column(label, paper, cfg.recipe(config), None, config.eval.sketch)
    return tables.Column(label, paper, cfg.recipe(config), protocols, config.eval.sketch)


def _mirror(config: Config, records: list[formats.Record], made: list[Path]) -> None:
    """The rendered table and figure as a W&B run of their own."""
    with tracking.start(
        mode=config.logger.mode,
        project=config.logger.project,
        dir=Path(config.paths.runs) / "wandb",
        name=f"{config.experiment.name}-{config.scale.name}",
        group=config.experiment.name,
        job_type="report",
        tags=[config.scale.name, config.dataset.name],
        config=cfg.plain(config),
    ) as run:
        if records:
            names = list(records[0])
            run.table(config.experiment.name, names, [list(r.values()) for r in records])
        for path in made:
            print(f"wrote {path}")
            if path.suffix == ".png":
                run.image(path.stem, path)
        if run.path:
            print(f"W&B   {run.path}   (look at it without an account: wandb leet {run.path})")


def main() -> None:
    """python scripts/render.py EXPERIMENT [key=value ...] [--data TITLE]"""
    arguments = sys.argv[1:]
    data = None
    if "--data" in arguments:
        at = arguments.index("--data")
        data = (arguments[at + 1 : at + 2] or [""])[0]
        del arguments[at : at + 2]
    try:
        if data == "":
            raise UsageError("--data needs the title or the digest of the data: --data 'CIFAR-10'")
        if not arguments:
            raise UsageError(
                "name the experiment to render: python scripts/render.py table1 scale=cpu"
            )
        render(arguments[0], arguments[1:], data=data)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

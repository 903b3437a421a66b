"""From rows to a table and a figure: which rows belong to an experiment, and where they go.

A pure function of whatever rows exist: no network, no data. Missing cells are marked.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import config as cfg
from . import landscapes, mirror, notes, store, tracking
from .config import Config
from .errors import UsageError
from .report import figures, formats, honest, index, surface, tables
from .report.caption import facts
from .report.published import Key, elsewhere, published
from .report.selection import select
from .results import Row

FOLDER = {"paper": "paper-scale"}  # results/paper holds the published numbers


@dataclass(frozen=True)
class Layout:
    """A table before its rows: what the configuration and the paper say of it.

    cells  the configuration of each method, by its name.
    """

    config: Config
    cells: Mapping[str, Config]
    table: tables.Table
    known: Mapping[Key, float]
    copied: Mapping[Key, str]

    @property
    def folder(self) -> Path:
        return folder_of(self.config)

    @property
    def runs(self) -> Path:
        return Path(self.config.paths.runs) / "rows"

    def takes(self, row: Row) -> bool:
        return any(column.takes(row) for column in self.table.columns)

    @property
    def figure(self) -> Path:
        return self.folder / f"{self.table.name}.png"

    def chosen(self, data: str | None = None) -> str | None:
        """The data to show: what is asked for, else this machine's own before others'."""
        if data is None:
            own = {row.data_digest for row in store.read([self.runs]) if self.takes(row)}
            data = own.pop() if len(own) == 1 else None
        return data

    def filled(self, rows: Sequence[Row], data: str | None = None) -> tables.Rendered:
        """With what there is of its rows."""
        data = self.chosen(data)
        return tables.render(self.table, rows, self.known, data=data, elsewhere=self.copied)


def folder_of(config: Config) -> Path:
    """Where the results of its scale lie."""
    return Path(config.paths.results) / FOLDER.get(config.scale.name, config.scale.name)


def laid(experiment: str, overrides: Sequence[str] = ()) -> Layout:
    """From configurations alone; UsageError for an experiment that is no table."""
    from .build import attacks

    config = cfg.composed([f"experiment={experiment}", *overrides])
    if not config.experiment.columns:
        raise UsageError(f"experiment={experiment} has no columns: it is no table")
    cells = {
        method: cfg.composed([f"experiment={experiment}", *overrides, f"method={method}"])
        for method in config.experiment.columns
    }
    labels = config.experiment.columns
    named = config.experiment.published_as
    columns = tuple(
        _column(labels[method], named.get(method, method), cell) for method, cell in cells.items()
    )
    _refuse_twins(columns)
    table = tables.Table(
        config.experiment.name,
        config.experiment.title,
        columns,
        (("clean", 0.0), *((attack.name, attack.epsilon) for attack in attacks(config))),
        notes.settings({labels[method]: cell for method, cell in cells.items()}),
    )
    reference = config.experiment.published
    paper = cfg.CONFIGS.parent / "results" / "paper"
    lines = config.experiment.published_only
    return Layout(
        config,
        cells,
        table,
        published(paper, reference, **lines) if reference else {},
        elsewhere(paper, reference) if reference else {},
    )


Made = tuple[list[Path], list[formats.Record]]
Form = Callable[[Layout, list[Row], str | None], Made]


def render(
    experiment: str, overrides: Sequence[str] = (), *, data: str | None = None
) -> list[Path]:
    """Collect the experiment's rows into results/<scale>/rows and render them beside it."""
    layout = laid(experiment, overrides)
    tracking.mode_of(layout.config.logger.mode)
    if layout.config.landscape:
        words = [f"experiment={experiment}", *overrides]
        drawn = landscapes.render(layout.config, layout.cells, words, layout.folder, data)
        drawn.append(index.write_index(layout.folder))
        _mirror(layout, [], drawn, [])
        return drawn
    store.collect(layout.runs, layout.folder / "rows", layout.takes)
    rows = [row for row in store.read([layout.folder / "rows"]) if layout.takes(row)]
    layout.figure.unlink(missing_ok=True)  # of rows that are gone
    made, records = FORMS[layout.config.experiment.form](layout, rows, layout.chosen(data))
    made.append(index.write_index(layout.folder))
    _mirror(layout, records, made, select(rows, layout.table.columns, data=layout.chosen(data)))
    return made


def _table(layout: Layout, rows: list[Row], data: str | None) -> Made:
    table, rendered = layout.table, layout.filled(rows, data)
    made = formats.write(rendered, layout.folder)
    if rows:
        names = tuple(dict.fromkeys(attack for attack, _ in table.lines if attack != "clean"))
        made.append(
            figures.robust_vs_epsilon(
                rows, table.columns, names, layout.figure, title=table.title, data=data
            )
        )
    print(formats.text(rendered))
    return made, formats.records(rendered)


def _honest(layout: Layout, rows: list[Row], data: str | None) -> Made:
    from .build import attacks

    columns, name = layout.table.columns, layout.table.name
    rows = select(rows, columns, data=data)
    everything = store.read([layout.folder / "rows", layout.runs])
    aimed = attacks(layout.config)
    epsilons = sorted({attack.epsilon for attack in aimed})
    single = [attack.name for attack in aimed if not attack.options]
    made = honest.lines(columns, rows, everything, epsilons, single, layout.known)
    about = (*facts(columns, rows), *layout.table.notes)
    page = honest.markdown(layout.table.title, made, about, columns[0].label)
    print(page)
    return honest.write(name, page, made, layout.folder), honest.records(made)


def _surface(layout: Layout, rows: list[Row], data: str | None) -> Made:
    columns, title = layout.table.columns, layout.table.title
    rows = [row for row in select(rows, columns, data=data) if row.correct]
    page = surface.markdown(title, columns, rows, (*facts(columns, rows), *layout.table.notes))
    print(page)
    path = layout.folder / f"{layout.table.name}.md"
    path.write_bytes(page.encode())
    made = [path]
    if rows:
        made.append(surface.figure(rows, columns, layout.figure, title=title))
    return made, surface.records(columns, rows)


FORMS: Mapping[str, Form] = {"table": _table, "honest": _honest, "surface": _surface}


def _refuse_twins(columns: Sequence[tables.Column]) -> None:
    """An override of what the methods set would show one network under two labels."""
    for i, column in enumerate(columns):
        for other in columns[:i]:
            if (column.recipe, column.protocols) == (other.recipe, other.protocols):
                raise UsageError(
                    f"'{other.label}' and '{column.label}' are the same run: an override takes the "
                    "place of what the table's methods set (theta, defence, ...); leave it out"
                )


def _column(label: str, paper: str, config: Config) -> tables.Column:
    """What of the rows is this method's, from its configuration alone."""
    from .build import attacks
    from .rows import protocol

    protocols = frozenset(protocol(config, attack) for attack in (None, *attacks(config)))
    if config.experiment.form == "surface":  # one of its cells is many protocols
        return tables.Column(label, paper, cfg.recipe(config), None, config.eval.sketch)
    return tables.Column(label, paper, cfg.recipe(config), protocols, config.eval.sketch)


def _mirror(
    layout: Layout, records: list[formats.Record], made: list[Path], rows: Sequence[Row]
) -> None:
    """The rendered table and figure as a W&B run of their own, made from files of rows."""
    config = layout.config
    with mirror.opened(config, "report", f"{config.experiment.name}-{config.scale.name}") as run:
        for file in sorted({f"{row.run_id}.jsonl" for row in rows}):
            own = layout.runs / file
            run.used(mirror.row_file(own if own.exists() else layout.folder / "rows" / file))
        if records:
            names = list(records[0])
            run.table(config.experiment.name, names, [list(r.values()) for r in records])
        for path in made:
            print(f"wrote {path}")
            if path.suffix == ".png":
                run.image(mirror.figure(path.stem), partial(Path, path))
        run.made(mirror.rendered(config, made))
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
    try:
        arguments, data = read_data(sys.argv[1:])
        if not arguments:
            raise UsageError(
                "name the experiment to render: python scripts/render.py table1 scale=cpu"
            )
        render(arguments[0], arguments[1:], data=data)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

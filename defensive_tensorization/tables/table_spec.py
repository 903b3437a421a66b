"""A table before its rows: which rows belong to an experiment, and what is known of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import config as cfg
from ..config import Config
from ..errors import UsageError
from ..report import tables
from ..report.caption import Facts
from ..report.published import Key, elsewhere, published
from ..results import landscape_panels, store
from ..results.row import Row
from . import caption_settings, released_notes

FOLDER = {"paper": "paper-scale"}  # results/paper holds the published numbers


@dataclass(frozen=True)
class Layout:
    """What the configuration and the paper say of a table; `cells` by method, as are columns.

    surfaces   of an honest table: by method, its rows of steps x draws.
    overrides  what composed it, the experiment apart.
    """

    config: Config
    cells: Mapping[str, Config]
    columns: tuple[tables.Column, ...]
    surfaces: Mapping[str, tables.Column]
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.config.experiment.name

    @property
    def folder(self) -> Path:
        return folder_of(self.config)

    @property
    def runs(self) -> Path:
        return Path(self.config.paths.runs) / "rows"

    @property
    def notes(self) -> Facts:
        labels = self.config.experiment.columns
        return caption_settings.settings(
            {labels[method]: cell for method, cell in self.cells.items()}
        )

    def noted(self, rows: Sequence[Row]) -> Facts:
        """The notes, and which of the rows' networks are released ones."""
        return (*self.notes, *released_notes.notes(self.config, self.columns, rows))

    @property
    def published(self) -> dict[Key, float]:
        of = self.config.experiment
        return published(cfg.PAPER, of.published, **of.published_only) if of.published else {}

    def takes(self, row: Row) -> bool:
        return any(column.takes(row) for column in (*self.columns, *self.surfaces.values()))

    def own_data(self, own: Iterable[Row] | None = None) -> str | None:
        """This machine's own rows stand before committed ones from other data.

        Args:
            own: the rows of the runs folder; None reads them.
        """
        rows = store.read([self.runs]) if own is None else own
        found = {row.data_digest for row in rows if self.takes(row)}
        return found.pop() if len(found) == 1 else None

    @property
    def lines(self) -> tuple[tuple[str, float], ...]:
        """(attack, epsilon) of each line of the table; the table's own averages are a column."""
        from ..experiment.plan import attacks

        of = self.config.experiment
        listed = [a for a in attacks(self.config) if a.draws == 1 or of.averaged != of.name]
        return ("clean", 0.0), *((attack.name, attack.epsilon) for attack in listed)

    def counted(self, rows: Iterable[Row], data: str | None = None) -> tuple[int, int]:
        """Return how many cells the experiment has, and how many of them have no row.

        A table's cell is a line and a column. Elsewhere a cell is a column under one attack.

        Args:
            data: the title or the digest of the data that are shown; None counts all rows.
        """
        mine = [row for row in rows if data in (None, row.data, row.data_digest)]
        if self.config.experiment.form == "table":
            return tables.counted(mine, self.columns, self.lines)
        wanted = [
            (column.recipe, column.sketch, protocol)
            for column, cell in zip(self.columns, self.cells.values(), strict=True)
            for protocol in set(_protocols(cell))
        ]
        there = {(row.recipe, row.sketch, row.protocol) for row in mine}
        return len(wanted), sum(each not in there for each in wanted)

    def filled(
        self,
        rows: Iterable[Row],
        data: str | None,
        averaged: Mapping[tuple[str, float], tables.Averaged] | None = None,
    ) -> tables.Rendered:
        """Attacks and epsilons down, methods across."""
        of, rows = self.config.experiment, list(rows)
        table = tables.Table(
            of.name,
            of.title,
            self.columns,
            self.lines,
            self.noted([row for row in rows if any(c.takes(row) for c in self.columns)]),
            of.columns.get(of.drawn or "", ""),
        )
        copied = elsewhere(cfg.PAPER, of.published) if of.published else {}
        return tables.render(
            *(table, rows, self.published), data=data, elsewhere=copied, averaged=averaged
        )


def folder_of(config: Config) -> Path:
    """Where the results of its scale lie."""
    return Path(config.paths.results) / FOLDER.get(config.scale.name, config.scale.name)


def laid(experiment: str, overrides: Sequence[str] = ()) -> Layout:
    """In the precision of its rows, this machine's own first, where autocast=auto leaves it.

    UsageError for an experiment that is no table.
    """
    layout = _laid(experiment, overrides)
    others = cfg.others(layout.config)
    if not others or not all(map(cfg.others, layout.cells.values())):  # its methods say which
        return layout
    words = [precision_words(each) for each in others]
    composed: list[Layout] = [layout]

    def options() -> Iterator[Layout]:
        """Composed when they are asked for: mostly the first has rows."""
        yield from composed
        for each in words[len(composed) - 1 :]:
            composed.append(_laid(experiment, [*overrides, *each]))
            yield composed[-1]

    own, committed = Path(layout.config.paths.runs), layout.folder
    for rows, drawn in (
        (own / "rows", landscape_panels.read(own / "landscapes")),
        (committed / "rows", landscape_panels.load(committed / f"{layout.name}.npz")),
    ):
        there = store.read([rows])
        recipes = {panel.about.recipe for panel in drawn}
        for option in options() if there or recipes else ():
            if any(map(option.takes, there)) or recipes & {
                *map(cfg.train_config_hash, option.cells.values())
            }:
                return option
    return layout


def precision_words(config: Config) -> list[str]:
    """Overrides that name the precisions of a configuration."""
    return [f"train.autocast={config.train.autocast}", f"eval.autocast={config.eval.autocast}"]


def _laid(experiment: str, overrides: Sequence[str]) -> Layout:
    """From configurations alone."""
    config = cfg.composed([f"experiment={experiment}", *overrides])
    if not config.experiment.columns:
        raise UsageError(f"experiment={experiment} has no columns: it is no table")
    cells = {
        method: cfg.composed([f"experiment={experiment}", *overrides, f"method={method}"])
        for method in config.experiment.columns
    }
    labels = config.experiment.columns
    named = config.experiment.published_as
    words = (*overrides, f"eval.epsilon={config.eval.epsilon}")
    outside = _under(config.experiment.outside, config, words, ("attack",))
    columns = tuple(
        _column(labels[method], named.get(method, method), cell, outside.get(method))
        for method, cell in cells.items()
    )
    _refuse_twins(columns)
    for name in (name for pair in config.experiment.controls.items() for name in pair):
        if name not in cells:
            raise UsageError(
                f"experiment.controls={name} is no column of {experiment}: take one of "
                f"{', '.join(cells)}"
            )
    surfaces = _under(config.experiment.surface, config, overrides, ("attack", "eval"))
    return Layout(config, cells, columns, surfaces, tuple(overrides))


def _under(
    experiment: str | None, config: Config, overrides: Sequence[str], own: tuple[str, ...]
) -> dict[str, tables.Column]:
    """By method of the table, what selects its rows under another experiment's attacks.

    own  what overrides say of the table alone.
    """
    if not experiment:
        return {}
    words = [f"experiment={experiment}", *kept(overrides, own)]
    return {
        method: _column(label, "", cfg.composed([*words, f"method={method}"]))
        for method, label in config.experiment.columns.items()
    }


def kept(overrides: Sequence[str], own: tuple[str, ...]) -> list[str]:
    """Those that hold for another experiment too; `own` begin those that do not."""
    return [
        w for w in overrides if not w.lstrip("+").startswith(own) or w.startswith("eval.autocast=")
    ]


def _refuse_twins(columns: Sequence[tables.Column]) -> None:
    """An override of what the methods set would show one network under two labels."""
    for i, column in enumerate(columns):
        for other in columns[:i]:
            if (column.recipe, column.protocols) == (other.recipe, other.protocols):
                raise UsageError(
                    f"'{other.label}' and '{column.label}' are the same run: an override takes the "
                    "place of what the table's methods set (theta, defence, ...); leave it out"
                )


def _column(
    label: str, paper: str, config: Config, more: tables.Column | None = None
) -> tables.Column:
    """What of the rows is this method's, from its configuration alone; and those of `more`."""
    protocols = frozenset(_protocols(config)) | ((more and more.protocols) or frozenset())
    return tables.Column(label, paper, cfg.train_config_hash(config), protocols, config.eval.sketch)


def _protocols(config: Config) -> list[str]:
    """Of the clean row, and of the rows of each attack."""
    from ..experiment.evaluation_config import eval_config_hash
    from ..experiment.plan import attacks

    return [eval_config_hash(config, attack) for attack in (None, *attacks(config))]

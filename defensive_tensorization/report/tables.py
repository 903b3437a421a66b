"""A table of robust accuracies: attacks and epsilons down, methods across."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from defensive_tensorization.report.attack_names import STOPS
from defensive_tensorization.report.caption import Facts, facts, unit
from defensive_tensorization.report.published import Key
from defensive_tensorization.report.selection import Column, cell_rows, counted, select
from defensive_tensorization.results.row import Row, Summary, summarise
from defensive_tensorization.results.scores import Interval

BRACKETS = "in brackets the published value"

__all__ = ["Averaged", "Cell", "Column", "Rendered", "Table", "counted", "render"]


@dataclass(frozen=True)
class Table:
    """`lines` are (attack, epsilon) pairs such as ("clean", 0), ("fgsm", 2).

    `notes` join the facts of the caption: what the rows' configuration says and a row does not.
    `shown` is the label of the column that a closing sentence is about.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    lines: tuple[tuple[str, float], ...]
    notes: Facts = ()
    shown: str = ""


@dataclass(frozen=True)
class Cell:
    """Ours (fractions, None where missing) and the published accuracy (percent).

    elsewhere  whether the paper copied it from another.
    rows       those that ours is the mean of.
    """

    ours: Summary | None
    published: float | None
    elsewhere: bool = False
    rows: tuple[Row, ...] = ()

    @property
    def text(self) -> str:
        """Ours in percent, "90.0 ± 1.0"; a dash where it is missing."""
        if self.ours is None:
            return "—"
        spread = "" if self.ours.robust_std is None else f" ± {100 * self.ours.robust_std:.1f}"
        return f"{100 * self.ours.robust_mean:.1f}{spread}"

    @property
    def paper(self) -> str:
        """The published accuracy, "95.3", with a star where it was copied."""
        return "—" if self.published is None else f"{self.published:.1f}{'*' * self.elsewhere}"


@dataclass(frozen=True)
class Averaged:
    """A network under the strongest attack, those that average over draws included.

    score    mean over fresh draws, with its interval over images and draws; n images.
    refused  why it is an upper bound only; "" where its surface of steps x draws is flat.
    weights  the digest of the network's weights: those of the table's rows, or it is not shown.
    """

    score: Interval
    n: int
    by: str
    refused: str = ""
    weights: str = ""


@dataclass(frozen=True)
class Rendered:
    """A table with its content; `cells[line][column]`, missing counts the cells without rows.

    data      the choice of data that it was rendered with.
    averaged  by the label of a column and epsilon (0: clean).
    """

    table: Table
    cells: tuple[tuple[Cell, ...], ...]
    legend: str
    facts: Facts
    missing: int
    data: str | None = None
    averaged: Mapping[tuple[str, float], Averaged] = field(default_factory=dict)

    @property
    def compares(self) -> bool:
        """Whether its attacks stand beside the same attacks that stop at the first miss."""
        return any(attack.startswith(STOPS) for attack, _ in self.table.lines)

    def used(self, column: int) -> list[Row]:
        """The rows behind a column, cell by cell."""
        return [row for line in self.cells for row in line[column].rows]

    @property
    def caption(self) -> str:
        """Title, legend and circumstances as one paragraph."""
        stated = [f"{topic[0].upper()}{topic[1:]}: {text}" for topic, text in self.facts]
        return ". ".join([self.table.title, self.legend, *stated]) + "."


def render(
    table: Table,
    rows: Iterable[Row],
    published: Mapping[Key, float],
    *,
    data: str | None = None,
    elsewhere: Mapping[Key, str] | None = None,
    averaged: Mapping[tuple[str, float], Averaged] | None = None,
) -> Rendered:
    """Fills the table from whatever rows exist.

    An attack that stops at the first miss is held against what is published of the same attack.
    `elsewhere` says of published values that the paper copied where they come from.
    `data` is the title or digest of the data to show. UsageError if one cell's rows come from
    several data or protocols.
    """
    chosen = select(rows, table.columns, data=data)
    used: list[Row] = []
    cells = []
    for attack, epsilon in table.lines:
        line = []
        for column in table.columns:
            mine = cell_rows(chosen, column, attack, epsilon)
            used.extend(mine)
            ours = summarise(mine) if mine else None
            key = (attack.removeprefix(STOPS), float(epsilon), column.paper)
            line.append(Cell(ours, published.get(key), key in (elsewhere or {}), tuple(mine)))
        cells.append(tuple(line))
    weights = {(row.recipe, row.weights) for row in used}
    recipes = {column.label: column.recipe for column in table.columns}
    flat = [cell for line in cells for cell in line]
    _, missing = counted(chosen, table.columns, table.lines)
    return Rendered(
        table,
        tuple(cells),
        _legend(flat, missing, used, elsewhere or {}),
        (*facts(table.columns, used), *table.notes),
        missing,
        data,
        {
            (label, epsilon): score
            for (label, epsilon), score in (averaged or {}).items()
            if (recipes[label], score.weights) in weights
        },
    )


def _legend(cells: list[Cell], missing: int, used: list[Row], elsewhere: Mapping[Key, str]) -> str:
    text = "Accuracy in %, ours: mean ± std over evaluation seeds"
    if any(cell.ours is not None and cell.ours.robust_std is None for cell in cells):
        text += " (no ± where there is one seed)"
    if any(cell.published is not None for cell in cells):
        text += f", {BRACKETS}"
    if any(cell.elsewhere for cell in cells):
        text += f" (*: {', '.join(sorted(set(elsewhere.values())))}, of another network)"
    if unit(used):
        text += f"; ε in {unit(used)}"
    return f"{text}; missing: {missing} of {len(cells)} cells measured for this table"

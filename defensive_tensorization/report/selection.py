"""Which rows belong to a table or a figure."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from defensive_tensorization.errors import UsageError
from defensive_tensorization.results.network import of_one_data_set
from defensive_tensorization.results.row import Row, Summary, summarise


@dataclass(frozen=True)
class Column:
    """One method: the label shown, its name in the published csv ("" if it has none), and the
    `Row.recipe`, `Row.protocol` (None: every protocol) and `Row.sketch` that it selects."""

    label: str
    paper: str
    recipe: str
    protocols: frozenset[str] | None = None
    sketch: bool = True

    def takes(self, row: Row) -> bool:
        mine = (row.recipe, row.sketch) == (self.recipe, self.sketch)
        return mine and (self.protocols is None or row.protocol in self.protocols)


def select(
    rows: Iterable[Row],
    columns: Sequence[Column],
    *,
    data: str | None = None,
) -> list[Row]:
    """The columns' rows. `data` is a title or a digest, without which several data are an error."""
    mine = [row for row in rows if any(column.takes(row) for column in columns)]
    return of_one_data_set(mine, lambda row: row, data, "rows")


def _at(rows: Iterable[Row], column: Column, attack: str, epsilon: float) -> Iterator[Row]:
    for row in rows:
        if column.takes(row) and row.attack == attack and math.isclose(row.epsilon, epsilon):
            yield row


def counted(
    rows: Sequence[Row], columns: Sequence[Column], lines: Sequence[tuple[str, float]]
) -> tuple[int, int]:
    """Return how many cells a table has, and how many of them have no row.

    A cell with rows of some evaluation seeds has a number already.
    """
    there = [any(_at(rows, column, *line)) for line in lines for column in columns]
    return len(there), there.count(False)


def cell_rows(rows: Iterable[Row], column: Column, attack: str, epsilon: float) -> list[Row]:
    """The rows of one cell by seed: one network and one protocol, else UsageError."""
    mine = sorted(_at(rows, column, attack, epsilon), key=lambda row: row.eval_seed)
    protocols = sorted({row.protocol for row in mine})
    if len(protocols) > 1:
        raise UsageError(
            f"{column.label}, {attack} at epsilon {epsilon:g} has rows of the protocols "
            f"{', '.join(protocols)}; accept one of them, or move the others' files away"
        )
    return one_training(mine, f"{column.label}, {attack} at epsilon {epsilon:g}")


def one_training(rows: list[Row], what: str) -> list[Row]:
    """The rows; UsageError where two trainings made them, which no mean may join."""
    if len({row.weights for row in rows}) > 1:
        raise UsageError(f"{what} has rows of two trainings: move the files of one of them away")
    return rows


def cell(rows: Iterable[Row], column: Column, attack: str, epsilon: float) -> Summary | None:
    """Summary of one cell, None where there is no row."""
    mine = cell_rows(rows, column, attack, epsilon)
    return summarise(mine) if mine else None

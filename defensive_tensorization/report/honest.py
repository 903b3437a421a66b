"""A table of the paper three times over: published, with one draw a step, and honestly.

Honest means: the strongest of the table's attacks, averaging over draws or not, scored on at
least 30 fresh draws, with an interval, and only once the surface of steps x draws is flat
(`surface.unsettled`): until then the number is refused, and what was measured stands beside why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from defensive_tensorization.report.published import Key
from defensive_tensorization.report.selection import Column, cell_rows, one_training
from defensive_tensorization.report.surface import (
    Surface,
    answers,
    convergence_failure,
    surface,
    surface_rows,
)
from defensive_tensorization.results.row import OUTSIDE, Row
from defensive_tensorization.results.scores import NAMES, Answers, Interval, difference, interval

LEAST = 30  # fresh draws that score a headline


@dataclass(frozen=True)
class Line:
    """One network at one epsilon (0: clean); what was not measured is None.

    published  percent, the lowest of the paper's attacks; paper  ours under them, a fraction.
    scores     each under the attack that lowers it most, `by` for the mean.
    against    the mean minus the first column's, images paired; control: minus its control's; None
               where either of the two is refused.
    refused    why the headline is not to be quoted yet.
    outside    the mean under AutoAttack, scored likewise.
    images     how many the headline is scored on; weights: the digest of the network's.
    """

    epsilon: float
    column: Column
    published: float | None
    paper: float | None
    scores: Mapping[str, Interval] = field(default_factory=dict)
    by: str = ""
    against: Interval | None = None
    control: Interval | None = None
    refused: str = ""
    outside: Interval | None = None
    images: int = 0
    weights: str = ""


def lines(
    columns: Sequence[Column],
    rows: Sequence[Row],
    surfaces: Mapping[Column, Column],
    epsilons: Sequence[float],
    attacks: Sequence[str],
    published: Mapping[Key, float],
    controls: Mapping[Column, Column] | None = None,
) -> list[Line]:
    """surfaces: by column, what selects its surface among the rows; controls: by column, another;
    attacks: those of the paper, with one draw a step."""
    made = []
    for epsilon in (0.0, *epsilons):
        found = {column: _by_attack(rows, column, epsilon) for column in columns}
        headlines = {c: each[_lowest(each)] for c, each in found.items() if each}
        refused = {
            c: _refused(headline, rows, surfaces.get(c), epsilon) if epsilon else ""
            for c, headline in headlines.items()
        }
        quoted = {c: _answers(headline) for c, headline in headlines.items() if not refused[c]}
        for column in columns:
            mine, single = found[column], attacks if epsilon else ("clean",)
            ours = (interval(_answers(mine[name])).estimate for name in single if name in mine)
            keys = [(name, epsilon, column.paper) for name in single]
            printed = [published[key] for key in keys if key in published]
            made.append(
                Line(
                    epsilon,
                    column,
                    min(printed, default=None),
                    min(ours, default=None),
                    _scores(mine),
                    _lowest(mine) if mine else "",
                    _minus(quoted, column, columns[0]),
                    _minus(quoted, column, (controls or {}).get(column)),
                    refused.get(column, ""),
                    interval(_answers(mine[OUTSIDE])) if OUTSIDE in mine else None,
                    max((row.n for row in headlines.get(column, ())), default=0),
                    next((row.weights for row in headlines.get(column, ())), ""),
                )
            )
    return made


def _minus(
    found: Mapping[Column, Sequence[Answers]], column: Column, other: Column | None
) -> Interval | None:
    """None where one of the two is not there, or they are one."""
    if other is None or other == column or column not in found or other not in found:
        return None
    return difference(found[column], found[other])


def _refused(
    headline: Sequence[Row], rows: Sequence[Row], column: Column | None, epsilon: float
) -> str:
    """Why, or ""; column: what selects the headline's surface."""
    own: Surface = {}
    if column:
        own = surface(rows, column, epsilon)
        of_both = [*headline, *surface_rows(rows, column, epsilon)]
        one_training(of_both, f"{column.label} and its surface at epsilon {epsilon:g}")
    least = min(row.scored for row in headline)
    if least < LEAST:
        return f"it is scored on {least} draws, {LEAST} are the least"
    return convergence_failure(own, _answers(headline))


def _by_attack(rows: Sequence[Row], column: Column, epsilon: float) -> dict[str, list[Row]]:
    """The column's rows that say what each image got; one network's, one protocol an attack."""
    kept = [row for row in rows if row.correct and column.takes(row) and row.epsilon == epsilon]
    names = dict.fromkeys(row.attack for row in kept)
    return {name: cell_rows(kept, column, name, epsilon) for name in names}


def _answers(rows: Sequence[Row]) -> list[Answers]:
    return [answers(row) for row in rows]


def _lowest(found: Mapping[str, Sequence[Row]]) -> str:
    """The attack that lowers the mean most."""
    return min(found, key=lambda attack: interval(_answers(found[attack])).estimate)


def _scores(found: Mapping[str, Sequence[Row]]) -> dict[str, Interval]:
    """Every score under the attack that lowers it most.

    Lucky hits are no accuracy: they are those of the attack that lowers the mean.
    """
    if not found:
        return {}
    scores = {
        name: min((interval(_answers(r), name) for r in found.values()), key=lambda i: i.estimate)
        for name in NAMES
    }
    return scores | {"lucky": interval(_answers(found[_lowest(found)]), "lucky")}

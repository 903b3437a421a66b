"""The picture of a table: lines against epsilon, or a place a method where those would overlap."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from defensive_tensorization.report.dots import dots
from defensive_tensorization.report.figures import STYLES, robust_vs_epsilon
from defensive_tensorization.report.published import Key
from defensive_tensorization.report.tables import Rendered
from defensive_tensorization.results.row import Row

FEW = 4  # methods whose lines can be told apart; epsilons that make no curve


def accuracy_figure(
    rendered: Rendered, rows: Sequence[Row], published: Mapping[Key, float], path: Path
) -> list[Path]:
    """Write a PNG of `rendered`'s rows; none where it has none, or more methods than styles."""
    table = rendered.table
    if not rows or len(table.columns) > len(STYLES):
        return []
    attacks = tuple(dict.fromkeys(attack for attack, _ in table.lines if attack != "clean"))
    epsilons = {epsilon for _, epsilon in table.lines}
    what = (rows, table.columns, attacks, path)
    if len(table.columns) > FEW >= len(epsilons):
        return [
            dots(
                *what,
                title=table.title,
                data=rendered.data,
                published=published,
                copied=_copied(rendered),
            )
        ]
    few = len(table.columns) <= FEW
    return [
        robust_vs_epsilon(
            *what, title=table.title, data=rendered.data, published=published if few else None
        )
    ]


def _copied(rendered: Rendered) -> str:
    """Whose published values the paper copied."""
    columns = rendered.table.columns
    labels = [
        column.label
        for place, column in enumerate(columns)
        if any(line[place].elsewhere for line in rendered.cells)
    ]
    return f"of another network: {'; '.join(labels)}" if labels else ""

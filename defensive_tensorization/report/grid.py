"""A rendered table for the page: as the paper lays it out, and cell by cell; both can be sorted."""

from dataclasses import replace

from defensive_tensorization.report.attack_names import shown
from defensive_tensorization.report.formats import Record, records
from defensive_tensorization.report.html_table import NONE, NOT_RUN, Cell, HtmlTable
from defensive_tensorization.report.tables import BRACKETS, Rendered
from defensive_tensorization.report.tables import Cell as Result
from defensive_tensorization.results.row import Row


def anchor(row: Row) -> str:
    """Where the page shows the rows of this one's network and protocol."""
    weights = f"-{row.weights}" if row.weights else ""
    return f"rows-{row.fingerprint}{weights}-{row.protocol}"


def points(value: float) -> str:
    """A difference in percentage points, with its sign."""
    return f"{value:+.1f}".replace("-", "−")


def epsilon_label(attack: str, epsilon: object) -> str:
    return "" if attack == "clean" else f"{epsilon:g}"


def matrix(rendered: Rendered) -> HtmlTable:
    """Attacks and epsilons down, methods across; each cell leads to its rows."""
    table, found = rendered.table, iter(records(rendered))
    lines = [
        [
            Cell(shown(attack)),
            Cell(epsilon_label(attack, epsilon), epsilon),
            *(_both(each, next(found)) for each in cells),
        ]
        for (attack, epsilon), cells in zip(table.lines, rendered.cells, strict=True)
    ]
    legend = rendered.legend.replace(BRACKETS, "below it the published value and the difference")
    heads = ["Attack", "ε", *(column.label for column in table.columns)]
    return HtmlTable(table.title, f"{legend}.", heads, lines, "matrix")


def by_cell(rendered: Rendered) -> HtmlTable:
    """One line a cell: published, ours, difference in points, and the way to its rows."""
    title = rendered.table.title
    flat = [each for line in rendered.cells for each in line]
    heads = ["Attack", "ε", "Method", "Published", "Ours", "± std", "Difference", "n", "Seeds"]
    lines = []
    for record, of in zip(records(rendered), flat, strict=True):
        attack, ours, gap = str(record["attack"]), of.ours, record["difference"]
        lines.append(
            [
                Cell(shown(attack)),
                Cell(epsilon_label(attack, record["epsilon"])),
                Cell(str(record["method"])),
                _number(record["published"], of.elsewhere),
                _number(record["ours_mean"], absent=NOT_RUN),
                _number(record["ours_std"]),
                Cell(points(gap), gap) if isinstance(gap, float) else NONE,
                Cell(f"{ours.n:,}", record["n"] or "") if ours else NONE,
                Cell(str(record["seeds"]), record["seeds"] or "") if ours else NONE,
                _to_rows(of, "rows") if of.rows else replace(NONE, value=None),
            ]
        )
    caption = f"{title}, cell by cell, in % and percentage points."
    return HtmlTable(f"{title}, cell by cell", caption, [*heads, "Rows"], lines, "cells")


def _to_rows(of: Result, text: str) -> Cell:
    return Cell(text, links=[(f"#{anchor(of.rows[0])}", text)])


def _both(of: Result, record: Record) -> Cell:
    """Ours above what is published and the difference."""
    paper = ""
    if of.published is not None:
        paper = f"paper {of.paper}"
        if record["difference"] is not None:
            paper += f", {points(float(record['difference']))}"
    if of.ours is None:
        return replace(NOT_RUN, small=paper)
    return replace(_to_rows(of, of.text), value=f"{100 * of.ours.robust_mean:.4f}", small=paper)


def _number(value: object, star: bool = False, absent: Cell = NONE) -> Cell:
    return absent if value is None else Cell(f"{value:.1f}" + "*" * star, value)

"""How the kept ratios of cost have moved, a line for each time that they were kept."""

import csv
from pathlib import Path

from defensive_tensorization.report.html_table import NOT_RUN, Cell, HtmlTable

TIMES = 12  # that are shown, the latest first


def history(path: Path) -> HtmlTable:
    """Of results/bench/history.csv: a ratio's minimum and, in parentheses, its median."""
    made: dict[tuple[str, ...], dict[str, str]] = {}
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            at = tuple(line[name] for name in ("date", "commit", "precision", "processor"))
            told = f"{float(line['minimum']):.2f} ({float(line['median']):.2f})"
            made.setdefault(at, {})[line["ratio"]] = told
    ratios = list(dict.fromkeys(name for each in made.values() for name in each))
    lines = [
        [*map(Cell, at), *(Cell(of[name]) if name in of else NOT_RUN for name in ratios)]
        for at, of in [*reversed(made.items())][:TIMES]
    ]
    caption = (
        "What one thing costs as a multiple of another, measured in turn: the minimum, and the "
        "median in parentheses. Only lines of one precision and one processor compare."
    )
    heads = ("Date", "Commit", "Precision", "Processor", *ratios)
    return HtmlTable("speed", caption, heads, lines)

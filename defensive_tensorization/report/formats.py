"""A rendered table as Markdown, csv, LaTeX and terminal text."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from defensive_tensorization.report import evidence
from defensive_tensorization.report.caption import commit
from defensive_tensorization.report.tables import Cell, Rendered
from defensive_tensorization.results.row import Row

Record = dict[str, str | float | int | None]

TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "ε": r"$\varepsilon$",
    "θ": r"$\theta$",
    "±": r"$\pm$",
    "—": "---",
    "–": "--",
}


def source(row: Row) -> str:
    """The file of a row, beside the tables."""
    return f"rows/{row.run_id}.jsonl"


def write(rendered: Rendered, directory: Path) -> list[Path]:
    """Writes `<name>.md`, `.csv` and `.tex`, and `<name>_evidence.csv` where it compares; the same
    rows give the same bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    forms = {".md": markdown(rendered), ".csv": tidy(records(rendered)), ".tex": latex(rendered)}
    if rendered.compares:
        forms["_evidence.csv"] = tidy(evidence.records(rendered))
    for suffix, text in forms.items():
        path = directory / f"{rendered.table.name}{suffix}"
        path.write_bytes(text.encode())
        paths.append(path)
    return paths


def markdown(rendered: Rendered) -> str:
    header, *lines = _grid(rendered)
    rule = ["---" if left else "---:" for left in _left(rendered)]
    return "\n".join(
        [
            f"# {rendered.table.title}",
            "",
            _bars(header),
            _bars(rule),
            *map(_bars, lines),
            "",
            *([evidence.sentence(rendered), ""] if evidence.sentence(rendered) else []),
            f"{_legend(rendered)}.",
            "",
            *(f"- {topic}: {text}" for topic, text in rendered.facts),
            "",
            *sources(
                (column.label, rendered.used(i)) for i, column in enumerate(rendered.table.columns)
            ),
        ]
    )


def sources(columns: Iterable[tuple[str, Sequence[Row]]]) -> list[str]:
    """Lines of Markdown from each column to its rows, and on to their commits and commands."""
    lines = []
    for label, rows in columns:
        for file in sorted({source(row) for row in rows}):
            mine = [row for row in rows if source(row) == file]
            commits = ", ".join(sorted({commit(row) for row in mine}))
            commands = " and ".join(sorted({f"`{row.command}`" for row in mine}))
            lines.append(f"- {label}: [{file}]({file}), commit {commits}, by {commands}")
    if not lines:
        return []
    head = (
        "Where the numbers come from: a cell's rows are those of its `protocol` (see the csv) in "
        "its column's file, each with its seed, commit, versions, hardware and command; a command "
        "with `--cfg job` behind it prints its whole configuration."
    )
    return [head, "", *lines, ""]


def text(rendered: Rendered) -> str:
    """Aligned columns for a terminal."""
    grid = _grid(rendered)
    widths = [max(len(line[i]) for line in grid) for i in range(len(grid[0]))]
    aligned = [
        "  ".join(
            text.ljust(width) if left else text.rjust(width)
            for text, width, left in zip(line, widths, _left(rendered), strict=True)
        ).rstrip()
        for line in grid
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    stated = [f"{topic}: {statement}" for topic, statement in rendered.facts]
    told = [evidence.sentence(rendered)] if evidence.sentence(rendered) else []
    table = [rendered.table.title, "", aligned[0], rule, *aligned[1:], ""]
    return "\n".join([*table, _legend(rendered), *stated, "", *told, ""])


def latex(rendered: Rendered) -> str:
    """A booktabs table; LaTeX numbers it, so a leading "Table 1:" is dropped from the caption."""
    caption = re.sub(r"^Table \w+: ", "", rendered.caption)
    header, *lines = [[_tex(text) for text in line] for line in _grid(rendered)]
    groups = _groups(rendered)
    body = []
    for group, before, line in zip(groups, [groups[0], *groups], lines, strict=False):
        body += [r"\midrule"] if group != before else []
        body.append(f"{' & '.join(line)} \\\\")
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            f"\\caption{{{_tex(caption)}}}",
            f"\\label{{tab:{rendered.table.name}}}",
            f"\\begin{{tabular}}{{{''.join('l' if left else 'r' for left in _left(rendered))}}}",
            r"\toprule",
            f"{' & '.join(header)} \\\\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def records(rendered: Rendered) -> list[Record]:
    """One record a cell, in percent; the difference is ours minus published, in points."""
    found: list[Record] = []
    copied = any(cell.elsewhere for line in rendered.cells for cell in line)
    for (attack, epsilon), line in zip(rendered.table.lines, rendered.cells, strict=True):
        for column, cell in zip(rendered.table.columns, line, strict=True):
            ours = cell.ours
            mean = None if ours is None else 100 * ours.robust_mean
            std = None if ours is None or ours.robust_std is None else 100 * ours.robust_std
            published = cell.published
            difference = None if mean is None or published is None else mean - published
            averaged = rendered.averaged.get((column.label, epsilon))
            found.append(
                {
                    "attack": attack,
                    "epsilon": epsilon,
                    "method": column.label,
                    "ours_mean": _rounded(mean),
                    "ours_std": _rounded(std),
                    "n": None if ours is None else ours.n,
                    "seeds": 0 if ours is None else ours.seeds,
                    "published": published,
                    "difference": _rounded(difference),
                    "rows": source(cell.rows[0]) if cell.rows else None,
                    "protocol": cell.rows[0].protocol if cell.rows else None,
                    **({"elsewhere": cell.elsewhere} if copied else {}),
                    **(evidence.record(attack, cell, averaged) if rendered.compares else {}),
                }
            )
    return found


def tidy(found: list[Record]) -> str:
    """Records as csv; an empty field is a missing value."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return out.getvalue()


def _legend(rendered: Rendered) -> str:
    return evidence.legend(rendered) if rendered.compares else rendered.legend


def _left(rendered: Rendered) -> list[bool]:
    """Whether each column of the grid is set to the left."""
    return [place < (2 if rendered.compares else 1) for place in range(len(_grid(rendered)[0]))]


def _groups(rendered: Rendered) -> list[str]:
    """By line of the grid, the group that it belongs to."""
    if rendered.compares:
        return [line.label for line in evidence.lines(rendered)]
    return [attack for attack, _ in rendered.table.lines]


def _grid(rendered: Rendered) -> list[list[str]]:
    if rendered.compares:
        return evidence.grid(rendered)
    header = ["Attack", "ε", *(column.label for column in rendered.table.columns)]
    lines = []
    for (attack, epsilon), cells in zip(rendered.table.lines, rendered.cells, strict=True):
        first = ["Clean", ""] if attack == "clean" else [attack.upper(), f"{epsilon:g}"]
        lines.append([*first, *map(_cell, cells)])
    return [header, *lines]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _bars(line: list[str]) -> str:
    return f"| {' | '.join(line)} |"


def _cell(cell: Cell) -> str:
    text = "—"
    if cell.ours is not None:
        text = f"{100 * cell.ours.robust_mean:.1f}"
        if cell.ours.robust_std is not None:
            text += f" ± {100 * cell.ours.robust_std:.1f}"
    star = "*" if cell.elsewhere else ""
    return text if cell.published is None else f"{text} ({cell.published:.1f}{star})"


def _tex(text: str) -> str:
    return "".join(TEX.get(character, character) for character in text)

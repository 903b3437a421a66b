"""A rendered table as Markdown, csv, LaTeX and terminal text."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from defensive_tensorization.report import evidence
from defensive_tensorization.report.attack_names import shown
from defensive_tensorization.report.caption import commit
from defensive_tensorization.report.tables import Cell, Rendered
from defensive_tensorization.report.template import fill
from defensive_tensorization.results.row import Row
from defensive_tensorization.system import table

Record = dict[str, str | float | int | None]


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
    columns = enumerate(rendered.table.columns)
    return fill(
        "table.md",
        title=rendered.table.title,
        grid=_grid(rendered),
        left=_left(rendered),
        said=evidence.sentence(rendered),
        legend=_legend(rendered),
        facts=rendered.facts,
        sources=sources((column.label, rendered.used(i)) for i, column in columns),
    )


def sources(columns: Iterable[tuple[str, Sequence[Row]]]) -> str:
    """Markdown that leads from each column to its rows, and on to their commits and commands."""
    files = []
    for label, rows in columns:
        for file in sorted({source(row) for row in rows}):
            mine = [row for row in rows if source(row) == file]
            commits = sorted({commit(row) for row in mine})
            files.append((label, file, commits, sorted({row.command for row in mine})))
    return fill("sources.md", files=files)


def text(rendered: Rendered) -> str:
    """Aligned columns for a terminal."""
    grid = table.console(_grid(rendered), _left(rendered), ruled=True)
    stated = [f"{topic}: {statement}" for topic, statement in rendered.facts]
    said = [evidence.sentence(rendered)] if evidence.sentence(rendered) else []
    return "\n".join(
        [rendered.table.title, "", grid, "", _legend(rendered), *stated, "", *said, ""]
    )


def latex(rendered: Rendered) -> str:
    """A booktabs table; LaTeX numbers it, so a leading "Table 1:" is dropped from the caption."""
    header, *lines = _grid(rendered)
    left = _left(rendered)
    caption = rendered.caption.replace(rendered.legend, _legend(rendered))
    return fill(
        "table.tex",
        caption=re.sub(r"^Table \w+: ", "", caption),
        name=rendered.table.name,
        columns="".join("l" if i in left else "r" for i in range(len(header))),
        header=header,
        lines=list(zip(_groups(rendered), lines, strict=False)),
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


def tidy(found: Sequence[Record]) -> str:
    """Records as csv; an empty field is a missing value."""
    return table.tidy([list(found[0]), *(list(each.values()) for each in found)])


def _legend(rendered: Rendered) -> str:
    return evidence.legend(rendered) if rendered.compares else rendered.legend


def _left(rendered: Rendered) -> range:
    """The columns of the grid that are set to the left."""
    return range(2 if rendered.compares else 1)


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
        first = [shown(attack), "" if attack == "clean" else f"{epsilon:g}"]
        lines.append([*first, *map(_cell, cells)])
    return [header, *lines]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _cell(cell: Cell) -> str:
    return cell.text if cell.published is None else f"{cell.text} ({cell.paper})"

"""A table of texts, its first line the head: for a terminal, in Markdown, as csv."""

import csv
import io
from collections.abc import Collection, Iterable, Sequence

Lines = Sequence[Sequence[str]]


def console(lines: Lines, left: Collection[int] = (0,), *, ruled: bool = False) -> str:
    """Align the columns, those of `left` to the left; `ruled`: with a line under the head."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    made = [
        "  ".join(
            text.ljust(width) if i in left else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([made[0], "-" * max(map(len, made)), *made[1:]] if ruled else made)


def markdown(lines: Lines, left: Collection[int] = (0,), *, tight: bool = False) -> str:
    """Set the columns of `left` to the left; `tight`: no space in the line under the head."""
    cells = [[text.replace("|", r"\|") for text in line] for line in lines]
    head, *body = [f"| {' | '.join(line)} |" for line in cells]
    marks = ["---" if i in left else "---:" for i in range(len(lines[0]))]
    return "\n".join([head, f"|{'|'.join(marks)}|" if tight else f"| {' | '.join(marks)} |", *body])


def tidy(lines: Iterable[Sequence[object]]) -> str:
    """As csv; None is an empty field."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()

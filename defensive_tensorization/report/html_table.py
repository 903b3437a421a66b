"""What a sortable table in HTML holds; templates/macros.html.jinja lays it out."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A text, and how it stands there.

    value   what it is sorted by, where that is not its text.
    links   (address, text) pairs that stand in place of the text.
    small   a second, smaller text under the first.
    absent  whether the text says that there is nothing.
    """

    text: str
    value: object = None
    links: Sequence[tuple[str, str]] = ()
    small: str = ""
    absent: bool = False
    code: bool = False


NOT_RUN = Cell("not run", "", absent=True)
NONE = Cell("—", "", absent=True)


@dataclass(frozen=True)
class HtmlTable:
    """A table whose first cell in a line is its head.

    label  what the region that it scrolls in is called; kind: a further class; ids: one a line.
    """

    label: str
    caption: str
    heads: Sequence[str]
    lines: Sequence[Sequence[Cell]]
    kind: str = ""
    ids: Sequence[str] = ()

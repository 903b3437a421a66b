"""Our pages in Markdown as a part of a page in HTML."""

import re
from collections.abc import Callable
from html import unescape
from re import Match
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from defensive_tensorization.errors import from_extra

if TYPE_CHECKING:
    from markdown import Markdown

PATTERNS = ("backtick", "escape", "link", "image_link")  # of the library's, in this order
BOLD = r"(\*\*)(.+?)\*\*"  # alone: one star is a mark of our tables


def html(text: str, picture: Callable[[str], str] = str) -> str:
    """Headings (from h3 down), paragraphs, lists, tables and fenced code.

    `picture` makes an image's address from the one in the text. HTML in the text is shown as text.
    """
    made = str(_reader(picture).convert(text))
    return made.replace("<pre><code>", '<pre tabindex="0"><code>')


def _reader(picture: Callable[[str], str]) -> "Markdown":
    with from_extra():
        from markdown import Markdown
        from markdown.inlinepatterns import SimpleTagInlineProcessor
        from markdown.util import Registry
    reader = Markdown(extensions=["tables", "fenced_code", "sane_lists"], output_format="html")
    reader.preprocessors.deregister("html_block")
    patterns = Registry()
    for priority, name in enumerate(reversed(PATTERNS), 1):
        patterns.register(reader.inlinePatterns[name], name, priority)
    patterns.register(SimpleTagInlineProcessor(BOLD, "strong"), "bold", 0)
    reader.inlinePatterns = reader.treeprocessors["inline"].inlinePatterns = patterns
    _checked(reader.inlinePatterns["link"], "href", lambda to: to if _safe(to) else None)
    _checked(reader.inlinePatterns["image_link"], "src", picture)
    reader.treeprocessors.register(_AsOnThePage(), "page", 0)
    return reader


def _safe(address: str) -> bool:
    """Whether it leads to the web or beside the page, and runs nothing."""
    to = unescape(address)
    return ":" not in to or to.startswith(("https:", "http:"))


def _checked(pattern: Any, name: str, address: Callable[[str], str | None]) -> None:
    """Give what the pattern makes another address; where that is None, its text stays as it is."""
    found = pattern.handleMatch

    def handle(match: Match[str], data: str) -> tuple[Element | None, int | None, int | None]:
        element, start, end = found(match, data)
        if element is not None:
            to = address(element.get(name, ""))
            if to is None:
                return None, None, None
            element.set(name, to)
        return element, start, end

    pattern.handleMatch = handle


class _AsOnThePage:
    """Headings two levels down; tables that scroll, can be sorted, and whose lines have heads."""

    def run(self, root: Element) -> None:
        for parent in list(root.iter()):
            if heading := re.fullmatch(r"h([1-6])", parent.tag):
                parent.tag = f"h{min(6, int(heading[1]) + 2)}"
            for at, table in enumerate(parent):
                if table.tag == "table":
                    parent[at] = _scrolled(table)


def _scrolled(table: Element) -> Element:
    """A region of its own, so that a wide table scrolls by keyboard and not with the page."""
    table.set("class", "sortable")
    for cell in table.iter("th"):
        cell.set("scope", "col")
    for line in table.findall("tbody/tr"):
        line[0].tag = "th"
        line[0].set("scope", "row")
    for cell in table.iter():
        cell.attrib.pop("style", None)
        if cell.tag == "code":  # as GitHub reads a bar there
            cell.text = (cell.text or "").replace(r"\|", "|")
    region = Element("div", {"class": "scroll", "role": "region", "aria-label": "a table"})
    region.set("tabindex", "0")
    region.append(table)
    return region

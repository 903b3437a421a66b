"""HTML by hand: elements whose text is escaped, and the part of Markdown that our pages use."""

import re
from collections.abc import Callable, Iterator
from html import escape

VOID = {"img", "meta", "input"}

_INLINE = re.compile(
    r"`(?P<code>[^`]+)`|!\[(?P<alt>[^\]]*)\]\((?P<image>[^)\s]+)\)"
    r"|\[(?P<text>[^\]]+)\]\((?P<to>[^)\s]+)\)|\*\*(?P<bold>.+?)\*\*"
)


def tag(name: str, /, *inner: str, **attributes: object) -> str:
    """An element around HTML; of its attributes None is left out, `_` is `-` and `class_` class."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{told}>" + ("" if name in VOID else f"{''.join(inner)}</{name}>")


def link(to: str, text: str, **attributes: object) -> str:
    return tag("a", escape(text), href=to, **attributes)


def markdown(text: str, picture: Callable[[str], str] = str) -> str:
    """Headings (from h3 down), paragraphs, lists, tables and fenced code.

    `picture` makes an image's address from the one in the text. HTML in the text is shown as text.
    """
    return "\n".join(_blocks(text.splitlines(), picture))


def _blocks(lines: list[str], picture: Callable[[str], str]) -> Iterator[str]:
    def inline(text: str) -> str:
        return _inline(text, picture)

    at = 0
    while at < len(lines):
        line = lines[at]
        end = at + 1
        if line.startswith("```"):
            while end < len(lines) and not lines[end].startswith("```"):
                end += 1
            yield tag("pre", tag("code", escape("\n".join(lines[at + 1 : end]))), tabindex=0)
            end += 1
        elif heading := re.match(r"(#+) +(.+)", line):
            level = min(6, len(heading[1]) + 2)
            yield tag(f"h{level}", inline(heading[2]))
        elif line.startswith("|"):
            end = _while(lines, at, lambda each: each.startswith("|"))
            yield _table([_split(each) for each in lines[at:end]], inline)
        elif item := re.match(r"(-|\*|\d+\.) +", line):
            end = _while(lines, at, lambda each: bool(re.match(r"((-|\*|\d+\.) +|  )\S", each)))
            joined = re.sub(r"\n {2,}", " ", "\n".join(lines[at:end])).split("\n")
            items = [tag("li", inline(re.sub(r"^\S+ +", "", each))) for each in joined]
            yield tag("ol" if item[1][0].isdigit() else "ul", *items)
        elif line.strip():
            end = _while(lines, at, lambda each: bool(re.match(r"(?!#|\||-|\*|```)\s*\S", each)))
            yield tag("p", inline(" ".join(each.strip() for each in lines[at:end])))
        at = end


def _while(lines: list[str], at: int, holds: Callable[[str], bool]) -> int:
    end = at + 1
    while end < len(lines) and holds(lines[end]):
        end += 1
    return end


def _split(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
    return [each.strip().replace("\\|", "|") for each in cells]


def _table(lines: list[list[str]], inline: Callable[[str], str]) -> str:
    head, *body = [line for line in lines if not all(re.fullmatch(r":?-+:?", c) for c in line)]
    width = len(head)
    rows = [
        tag(
            "tr",
            *(cell(inline(text), header=i == 0) for i, text in enumerate(_filled(line, width))),
        )
        for line in body
    ]
    return scrolled(
        tag(
            "table",
            tag("thead", tag("tr", *(tag("th", inline(each), scope="col") for each in head))),
            tag("tbody", *rows),
            class_="sortable",
        ),
        "a table",
    )


def _filled(line: list[str], width: int) -> list[str]:
    return [*line, *[""] * width][:width]


def cell(html: str, *, header: bool = False, value: object = None, **attributes: object) -> str:
    """A cell; `value` is what it is sorted by, where that is not its text."""
    name, scope = ("th", "row") if header else ("td", None)
    return tag(name, html, scope=scope, data_value=value, **attributes)


def scrolled(table: str, label: str) -> str:
    """A region of its own, so that a wide table scrolls by keyboard and not with the page."""
    return tag("div", table, class_="scroll", role="region", aria_label=label, tabindex=0)


def _inline(text: str, picture: Callable[[str], str]) -> str:
    made, end = "", 0
    for found in _INLINE.finditer(text):
        made += escape(text[end : found.start()])
        end = found.end()
        if found["code"]:
            made += tag("code", escape(found["code"]))
        elif found["image"]:
            made += tag("img", src=picture(found["image"]), alt=found["alt"])
        elif found["to"] and re.match(r"https?:|(?!\w+:)", found["to"]):
            made += link(found["to"], found["text"])
        elif found["to"]:
            made += escape(found[0])
        else:
            made += tag("strong", _inline(found["bold"], picture))
    return made + escape(text[end:])

"""A page read back with html.parser: its elements, and whether they are well formed."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"img", "meta", "input"}


@dataclass
class Element:
    name: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    def all(self, name: str, /, **attributes: str) -> list["Element"]:
        """Those below it in order; `class_` is one of its classes."""
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        found = []
        for child in self.children:
            if isinstance(child, Element):
                has = {k: (child.attributes.get(k) or "").split() for k in wanted}
                if child.name == name and all(value in has[k] for k, value in wanted.items()):
                    found.append(child)
                found += child.all(name, **attributes)
        return found

    def one(self, name: str, /, **attributes: str) -> "Element":
        (found,) = self.all(name, **attributes)
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Element("document", {})]
        self.ids: list[str] = []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len({key for key, _ in attributes}) == len(attributes), (name, attributes)
        element = Element(name, dict(attributes))
        self.ids += [element.attributes["id"] or ""] if "id" in element.attributes else []
        above = {each.name for each in self.open}
        assert name not in {"a", "button"} or name not in above, f"{name} within {name}"
        blocks = {"p", "ul", "ol", "dl", "table", "div", "section", "pre", "details", "figure"}
        assert not (name in blocks and above & {"p", "caption", "summary", "small"}), (name, above)
        self.open[-1].children.append(element)
        if name not in VOID:
            self.open.append(element)

    def handle_endtag(self, name: str) -> None:
        assert self.open[-1].name == name, f"</{name}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def read(html: str) -> Element:
    """The document; AssertionError where an element is not closed or an id is there twice."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert [each.name for each in reader.open] == ["document"]
    assert sorted(reader.ids) == sorted(set(reader.ids))
    return reader.open[0]


def grid(table: Element) -> list[list[Element]]:
    """The cells of its body, line by line."""
    lines = table.one("tbody").all("tr")
    return [[c for c in line.children if isinstance(c, Element)] for line in lines]

"""Everything of one results folder as one HTML page that needs nothing else to be looked at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from defensive_tensorization.report import grid, markup
from defensive_tensorization.report.caption import SCALES
from defensive_tensorization.report.evidence import sentence
from defensive_tensorization.report.markup import cell, link, scrolled, tag
from defensive_tensorization.report.origins import Run, definitions, details, runs
from defensive_tensorization.report.pictures import Pictures
from defensive_tensorization.report.tables import Rendered
from defensive_tensorization.results.row import Row

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class Entry:
    """One table or figure that there could be, and the command that makes it.

    rendered  the table with what rows there are; None of what has a page or figure in the folder.
    rows      those that it takes; None where it takes none.
    """

    name: str
    title: str
    command: str
    rendered: Rendered | None = None
    rows: tuple[Row, ...] | None = None

    @property
    def cells(self) -> int:
        return sum(map(len, self.rendered.cells)) if self.rendered else 0

    @property
    def missing(self) -> int:
        return self.rendered.missing if self.rendered else 0

    @property
    def published(self) -> bool:
        cells = self.rendered.cells if self.rendered else ()
        return any(cell.published is not None for line in cells for cell in line)

    def begun(self, folder: Path) -> bool:
        if self.rendered is not None:
            return self.missing < self.cells
        files = (folder / f"{self.name}.{kind}" for kind in ("md", "png"))
        return self.rows != () and any(file.is_file() for file in files)


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    html: str


def page(
    folder: Path,
    scale: str,
    entries: Sequence[Entry],
    found: Sequence[Run],
    audits: Sequence[Path] = (),
) -> str:
    """The page of a folder, from its figures, its own Markdown or HTML pages, and what is given.

    audits  pages in Markdown that lie elsewhere, their figures beside them.
    """
    pictures = Pictures(folder)
    sections = [
        *(_result(entry, pictures) for entry in entries if entry.begun(folder)),
        *(Section(path.stem, *_page(path, Pictures(path.parent))) for path in audits),
        *_written(folder, entries, pictures),
    ]
    if rest := pictures.rest():
        sections.append(
            Section("figures", "Further figures", "\n".join(map(pictures.figure, rest)))
        )
    sections.append(_not_run(entries, folder, audited=bool(audits)))
    shown: dict[str, list[str]] = {}
    for entry in entries:
        for name in dict.fromkeys(map(grid.anchor, entry.rows or ())):
            shown.setdefault(name, []).append(entry.name)
    origin = runs(found, shown) or tag("p", "There are no rows yet.")
    sections.append(Section("rows", "Where the numbers come from: the rows", origin))
    return _document(f"Results at {scale} scale", _lead(scale, entries, found), entries, sections)


def _result(entry: Entry, pictures: Pictures) -> Section:
    figure = f"{entry.name}.png"
    if entry.rendered is None:
        written = pictures.folder / f"{entry.name}.md"
        parts = [_page(written, pictures)[1]] if written.is_file() else []
        parts += [pictures.figure(figure)] if figure in pictures.left else []
    else:
        parts = [
            grid.matrix(entry.rendered),
            pictures.figure(figure),
            details("Cell by cell: published, ours, difference", grid.by_cell(entry.rendered)),
            details("Circumstances", definitions(dict(entry.rendered.facts))),
        ]
    files = [f"{entry.name}.{kind}" for kind in ("md", "csv", "tex")]
    links = [link(name, name) for name in files if (pictures.folder / name).is_file()]
    parts.append(tag("p", "Made by ", tag("code", escape(entry.command)), *_files(links)))
    return Section(entry.name, entry.title, "\n".join(parts))


def _page(path: Path, pictures: Pictures) -> tuple[str, str]:
    """The title and the rest of a page in Markdown."""
    text = path.read_text(encoding="utf-8")
    first, _, rest = text.partition("\n")
    title = first.removeprefix("# ")
    return title, markup.markdown(rest if title != first else text, pictures.address)


def _files(links: list[str]) -> list[str]:
    return ["; files: ", ", ".join(links), "."] if links else ["."]


def _written(folder: Path, entries: Sequence[Entry], pictures: Pictures) -> Iterator[Section]:
    """Pages that are no table's, such as an audit: Markdown, or HTML where there is only that."""
    tables = {"README", "report", *(entry.name for entry in entries)}
    paths = {
        path.stem: path for kind in ("html", "md") for path in sorted(folder.glob(f"*.{kind}"))
    }
    for name in sorted(set(paths) - tables, key=lambda name: (not name.startswith("audit"), name)):
        if paths[name].suffix == ".html":
            text = paths[name].read_text(encoding="utf-8")
            frame = tag("iframe", srcdoc=text, sandbox="", title=name)
            yield Section(name, name.replace("_", " ").capitalize(), frame)
        else:
            yield Section(name, *_page(paths[name], pictures))


def _not_run(entries: Sequence[Entry], folder: Path, *, audited: bool) -> Section:
    lines, whole = [], []
    for entry in entries:
        begun, command = entry.begun(folder), tag("code", escape(entry.command))
        if entry.rendered is None and not begun:
            lines.append(f"{escape(entry.title)}: nothing yet; {command}")
        elif entry.missing:
            what = f"lacks {entry.missing} of" if begun else "has none of its"
            lines.append(f"{escape(entry.title)}: {what} {entry.cells} cells; {command}")
        if entry.rendered and not begun and entry.published:
            whole.append(details(f"{entry.title}: what the paper has", grid.matrix(entry.rendered)))
    kept = (path for path in folder.glob("audit*.*") if not path.stem.startswith("audit_panel"))
    if not (audited or any(kept)):
        lines.append("No audit of a trained network has been made here.")
    items = tag("ul", *(tag("li", line) for line in lines)) if lines else tag("p", "Nothing.")
    return Section("not-run", "What was not run", "\n".join([items, *whole]))


def _conclusion(entries: Sequence[Entry]) -> str:
    """What each table says of its network at the largest epsilon, in its own numbers."""
    told = [
        tag("p", tag("strong", escape(said)), " ", link(f"#{entry.name}", entry.title))
        for entry in entries
        if entry.rendered and entry.rendered.compares and (said := sentence(entry.rendered))
    ]
    none = (
        "No conclusion yet: no table here has one network under an attack that stops at the first "
        "miss, under its full budget, and averaged over draws."
    )
    return "\n".join(told) or tag("p", escape(none))


def _lead(scale: str, entries: Sequence[Entry], found: Sequence[Run]) -> str:
    rows = sum(len(run.rows) for run in found)
    tables = [entry for entry in entries if entry.rendered is not None]
    begun = [entry for entry in tables if entry.missing < entry.cells]
    about = SCALES.get(scale, "a schedule of one's own")
    text = (
        f"Scale {scale}: {about}. {len(begun)} of {len(tables)} "
        f"tables have results, from {rows:,} rows of {len(found)} networks. In a table every "
        "number of ours leads to its rows, and every row to its commit, command and configuration; "
        "what was not run is shown as missing."
    )
    return "\n".join([_conclusion(entries), tag("p", escape(text))])


def _overview(entries: Sequence[Entry], folder_ids: set[str]) -> str:
    lines = []
    for entry in entries:
        title = escape(entry.title)
        there = entry.name in folder_ids
        has = f"{entry.cells - entry.missing} of {entry.cells}" if entry.rendered else "—"
        whole = "complete" if entry.rendered else "there"  # a page of its own says what it lacks
        state = "in part" if entry.missing else whole
        lines.append(
            tag(
                "tr",
                cell(link(f"#{entry.name}", entry.title) if there else title, header=True),
                cell(has, value=entry.cells - entry.missing if entry.rendered else ""),
                cell(state) if there else cell(grid.MISSING, value=""),
                cell(tag("code", escape(entry.command))),
            )
        )
    heads = ("Table or figure", "Cells with results", "State", "Made by")
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads)))
    caption = tag("caption", "What there could be at this scale, and what there is.")
    table = tag("table", caption, head, tag("tbody", *lines), class_="sortable")
    return scrolled(table, "overview")


def _document(title: str, lead: str, entries: Sequence[Entry], sections: Sequence[Section]) -> str:
    here = Path(__file__).parent
    names = {section.name for section in sections}
    overview = Section("overview", "Overview", _overview(entries, names))
    body = [
        tag("section", tag("h2", escape(each.title)), each.html, id=each.name)
        for each in (overview, *sections)
    ]
    ways = [tag("li", link(f"#{each.name}", each.title)) for each in (overview, *sections)]
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Defensive tensorization: {escape(title.lower())}"),
        f"<style>\n{(here / 'page.css').read_text(encoding='utf-8')}</style>",
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            tag("head", *head),
            "<body>",
            link("#main", "Skip to the results", class_="skip"),
            tag("header", tag("h1", f"Defensive tensorization: {escape(title.lower())}"), lead),
            tag("nav", tag("ul", *ways), aria_label="Sections"),
            tag("main", "\n".join(body), id="main"),
            f"<script>\n{(here / 'page.js').read_text(encoding='utf-8')}</script>",
            "</body>",
            "</html>\n",
        ]
    )

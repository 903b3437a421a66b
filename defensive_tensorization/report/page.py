"""Everything of one results folder as one HTML page that needs nothing else to be looked at."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from defensive_tensorization.report import grid, markdown_page
from defensive_tensorization.report.caption import SCALES
from defensive_tensorization.report.evidence import sentence
from defensive_tensorization.report.html_table import NOT_RUN, Cell, HtmlTable
from defensive_tensorization.report.origins import Run, runs
from defensive_tensorization.report.pictures import Pictures
from defensive_tensorization.report.speed import history
from defensive_tensorization.report.tables import Rendered
from defensive_tensorization.report.template import fill
from defensive_tensorization.results.row import Row


@dataclass(frozen=True)
class Entry:
    """One table or figure that there could be, and the command that makes it.

    rendered  the table with what rows there are; None of what has a page or figure in the folder.
    rows      those that it takes; None where it takes none.
    counted   its cells, and those without a row; None: those of `rendered`.
    """

    name: str
    title: str
    command: str
    rendered: Rendered | None = None
    rows: tuple[Row, ...] | None = None
    counted: tuple[int, int] | None = None

    @property
    def cells(self) -> int:
        if self.counted is not None:
            return self.counted[0]
        return sum(map(len, self.rendered.cells)) if self.rendered else 0

    @property
    def missing(self) -> int:
        if self.counted is not None:
            return self.counted[1]
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
    speed: Path | None = None,
) -> str:
    """The page of a folder, from its figures, its own Markdown or HTML pages, and what is given.

    audits  pages in Markdown that lie elsewhere, their figures beside them.
    speed   the history of the benchmark's ratios, csv; nothing is said where there is none.
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
    if speed is not None and speed.is_file():
        title = "What randomized kernels cost, over time"
        sections.append(Section("speed", title, fill("table.html", table=history(speed))))
    sections.append(_not_run(entries, folder, audited=bool(audits)))
    shown: dict[str, list[str]] = {}
    for entry in entries:
        for name in dict.fromkeys(map(grid.anchor, entry.rows or ())):
            shown.setdefault(name, []).append(entry.name)
    sections.append(Section("rows", "Where the numbers come from: the rows", runs(found, shown)))
    overview = fill("table.html", table=_overview(entries, {each.name for each in sections}))
    tables = [entry for entry in entries if entry.rendered]
    return fill(
        "page.html",
        scale=scale,
        about=SCALES.get(scale, "a schedule of one's own"),
        conclusions=list(_conclusions(entries)),
        begun=sum(entry.missing < entry.cells for entry in tables),
        tables=len(tables),
        rows=sum(len(run.rows) for run in found),
        networks=len(found),
        sections=[Section("overview", "Overview", overview), *sections],
    )


def _result(entry: Entry, pictures: Pictures) -> Section:
    figure, of = f"{entry.name}.png", entry.rendered
    written = pictures.folder / f"{entry.name}.md"
    own = _page(written, pictures)[1] if of is None and written.is_file() else ""
    files = [f"{entry.name}.{kind}" for kind in ("md", "csv", "tex")]
    text = fill(
        "result.html",
        page=own,
        matrix=of and grid.matrix(of),
        figure=pictures.figure(figure) if of or figure in pictures.left else "",
        by_cell=of and grid.by_cell(of),
        facts=of and dict(of.facts).items(),
        command=entry.command,
        files=[name for name in files if (pictures.folder / name).is_file()],
    )
    return Section(entry.name, entry.title, text)


def _page(path: Path, pictures: Pictures) -> tuple[str, str]:
    """The title and the rest of a page in Markdown."""
    text = path.read_text(encoding="utf-8")
    first, _, rest = text.partition("\n")
    title = first.removeprefix("# ")
    return title, markdown_page.html(rest if title != first else text, pictures.address)


def _written(folder: Path, entries: Sequence[Entry], pictures: Pictures) -> Iterator[Section]:
    """Pages that are no table's, such as an audit: Markdown, or HTML where there is only that."""
    tables = {"README", "report", *(entry.name for entry in entries)}
    paths = {
        path.stem: path for kind in ("html", "md") for path in sorted(folder.glob(f"*.{kind}"))
    }
    for name in sorted(set(paths) - tables, key=lambda name: (not name.startswith("audit"), name)):
        if paths[name].suffix == ".html":
            text = paths[name].read_text(encoding="utf-8")
            title = name.replace("_", " ").capitalize()
            yield Section(name, title, fill("frame.html", page=text, title=name))
        else:
            yield Section(name, *_page(paths[name], pictures))


def _not_run(entries: Sequence[Entry], folder: Path, *, audited: bool) -> Section:
    lines, published = [], []
    for entry in entries:
        begun = entry.begun(folder)
        if entry.rendered is None and not begun:
            lines.append((entry.title, "nothing yet", entry.command))
        elif entry.missing:
            what = f"lacks {entry.missing} of" if begun else "has none of its"
            lines.append((entry.title, f"{what} {entry.cells} cells", entry.command))
        if entry.rendered and not begun and entry.published:
            published.append((entry.title, grid.matrix(entry.rendered)))
    kept = (path for path in folder.glob("audit*.*") if not path.stem.startswith("audit_panel"))
    audited = audited or any(kept)
    text = fill("not_run.html", lines=lines, audited=audited, published=published)
    return Section("not-run", "What was not run", text)


def _conclusions(entries: Sequence[Entry]) -> Iterator[tuple[str, str, str]]:
    """What each table says of its network at the largest epsilon, in its own numbers."""
    for entry in entries:
        if entry.rendered and entry.rendered.compares and (said := sentence(entry.rendered)):
            yield said, entry.name, entry.title


def _overview(entries: Sequence[Entry], shown: set[str]) -> HtmlTable:
    """What there could be at this scale, and what there is; `shown` names the page's sections."""
    lines = []
    for entry in entries:
        there, has = entry.name in shown, entry.cells - entry.missing
        whole = "complete" if entry.rendered else "there"  # a page of its own says what it lacks
        state = "in part" if entry.missing else whole
        lines.append(
            [
                Cell(entry.title, links=[(f"#{entry.name}", entry.title)] if there else ()),
                Cell(f"{has} of {entry.cells}", has) if entry.cells else Cell("—", ""),
                Cell(state) if there else NOT_RUN,
                Cell(entry.command, code=True),
            ]
        )
    caption = "What there could be at this scale, and what there is."
    heads = ("Table or figure", "Cells with results", "State", "Made by")
    return HtmlTable("overview", caption, heads, lines)

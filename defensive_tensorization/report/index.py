"""The list of tables and figures in one results folder."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from defensive_tensorization.report.template import fill


@dataclass(frozen=True)
class Entry:
    """A file's line: its name, its title, and links (name, file) to what else there is of it."""

    file: str
    title: str
    beside: list[tuple[str, str]]


def write_index(directory: Path) -> Path:
    """Writes `<directory>/README.md` from the files there, with relative links.

    A table's line is the first heading of its Markdown, a figure's the title inside its PNG. A
    figure's page is its caption where it has data of its own (.npz), else its numbers.
    """
    figures = sorted(directory.glob("*.png"))
    pages = sorted(path for path in directory.glob("*.md") if path.name != "README.md")
    tables = [path for path in pages if path.with_suffix(".csv").exists()]
    undrawn = [
        path for path in pages if path not in tables and not path.with_suffix(".png").exists()
    ]
    rows = directory / "rows"
    text = fill(
        "index.md",
        name=directory.name,
        tables=[*map(_table, tables)],
        figures=[*map(_figure, figures), *map(_table, undrawn)],
        rows=len(list(rows.glob("*.jsonl"))) if rows.is_dir() else None,
    )
    path = directory / "README.md"
    path.write_bytes(text.encode())
    return path


def _table(path: Path) -> Entry:
    title = path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")
    return Entry(path.name, title, _beside(path, csv="csv", tex="tex"))


def _figure(path: Path) -> Entry:
    with Image.open(path) as image:
        title = image.info.get("Title", path.stem)
    own = {"md": "caption", "npz": "data"}
    if not path.with_suffix(".npz").exists():
        own = {} if path.with_suffix(".csv").exists() else {"md": "numbers"}
    return Entry(path.name, title, _beside(path, **own, pdf="pdf"))


def _beside(path: Path, **names: str) -> list[tuple[str, str]]:
    """What lies beside it of these suffixes, by name."""
    files = {name: path.with_suffix(f".{suffix}") for suffix, name in names.items()}
    return [(name, file.name) for name, file in files.items() if file.exists()]

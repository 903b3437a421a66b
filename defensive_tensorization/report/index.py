"""The list of tables and figures in one results folder."""

from pathlib import Path

from PIL import Image


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
    lines = [f"# Results at `{directory.name}` scale", ""]
    if tables:
        lines += ["## Tables", "", *map(_table, tables), ""]
    if figures or undrawn:
        lines += ["## Figures", "", *map(_figure, figures), *map(_table, undrawn), ""]
    if not tables and not figures and not undrawn:
        lines += ["Nothing rendered yet.", ""]
    if (directory / "rows").is_dir():
        count = len(list((directory / "rows").glob("*.jsonl")))
        lines += [f"Row files in [rows](rows): {count}.", ""]
    path = directory / "README.md"
    path.write_bytes("\n".join(lines).encode())
    return path


def _table(path: Path) -> str:
    title = path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")
    return f"- [{path.name}]({path.name}): {title}{_also(path, csv='csv', tex='tex')}"


def _figure(path: Path) -> str:
    with Image.open(path) as image:
        title = image.info.get("Title", path.stem)
    own = {"md": "caption", "npz": "data"}
    if not path.with_suffix(".npz").exists():
        own = {} if path.with_suffix(".csv").exists() else {"md": "numbers"}
    return f"- [{path.name}]({path.name}): {title}{_also(path, **own, pdf='pdf')}"


def _also(path: Path, **names: str) -> str:
    """Links to the files beside it of these suffixes, by name."""
    links = [
        f"[{name}]({path.stem}.{suffix})"
        for suffix, name in names.items()
        if path.with_suffix(f".{suffix}").exists()
    ]
    return f" ({', '.join(links)})" if links else ""

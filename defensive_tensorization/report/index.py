"""The list of tables and figures in one results folder."""

from pathlib import Path

from PIL import Image


def write_index(directory: Path) -> Path:
    """Writes `<directory>/README.md` from the files there, with relative links.

    A table's line is the first heading of its Markdown, a figure's the title inside its PNG.
    """
    tables = sorted(path for path in directory.glob("*.md") if path.name != "README.md")
    figures = sorted(directory.glob("*.png"))
    lines = [f"# Results at `{directory.name}` scale", ""]
    if tables:
        lines += ["## Tables", "", *map(_table, tables), ""]
    if figures:
        lines += ["## Figures", "", *map(_figure, figures), ""]
    if not tables and not figures:
        lines += ["Nothing rendered yet.", ""]
    if (directory / "rows").is_dir():
        count = len(list((directory / "rows").glob("*.jsonl")))
        lines += [f"Row files in [rows](rows): {count}.", ""]
    path = directory / "README.md"
    path.write_bytes("\n".join(lines).encode())
    return path


def _table(path: Path) -> str:
    title = path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")
    others = [
        f"[{suffix}]({path.stem}.{suffix})"
        for suffix in ("csv", "tex")
        if path.with_suffix(f".{suffix}").exists()
    ]
    also = f" ({', '.join(others)})" if others else ""
    return f"- [{path.name}]({path.name}): {title}{also}"


def _figure(path: Path) -> str:
    with Image.open(path) as image:
        title = image.info.get("Title", path.stem)
    return f"- [{path.name}]({path.name}): {title}"

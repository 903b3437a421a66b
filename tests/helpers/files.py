"""What a folder holds: rows that are put there, texts that are read."""

from pathlib import Path

from defensive_tensorization.results import store
from defensive_tensorization.results.row import Row


def write(where: Path, *groups: list[Row]) -> None:
    """As runs there would leave the rows."""
    for each in (row for group in groups for row in group):
        store.append(where / "runs" / "rows" / f"{each.run_id}.jsonl", each)


def contents(folder: Path) -> dict[str, bytes]:
    """Texts and rows by their paths, not the pictures."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".md", ".csv", ".tex", ".jsonl")
    }

"""Rows of machines that share no file system, brought together: `make collect FROM="A B"`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError, in_one_line
from ..results import store
from ..results.row import Row


def merge_rows(sources: Sequence[Path], target: Path) -> int:
    """Add to the rows in `target` those of other folders; how many were new.

    A source is a folder of rows, or one of runs that holds `rows`. A row that is there already, by
    its key, stays; runs may go on meanwhile. UsageError, and nothing is written, where two machines
    trained one network on their own: their rows must not meet in one cell.
    """
    folders = [_rows(source) for source in sources]
    found = {folder: store.read([folder]) for folder in (target, *folders)}
    trained: dict[str, tuple[str, Path]] = {}
    for folder, rows in found.items():
        for row in rows:
            weights, where = trained.setdefault(row.fingerprint, (row.weights, folder))
            if row.weights != weights:
                raise UsageError(
                    f"{row.run_id} was trained twice, as {weights or 'unknown'} in {where} and as "
                    f"{row.weights or 'unknown'} in {folder}: leave out its file in one of them"
                )
    new = [row for folder in folders for row in found[folder]]
    return sum(store.append(_file(target, row), row) for row in new)


def _rows(source: Path) -> Path:
    for folder in (source / "rows", source):
        if any(folder.glob("*.jsonl")):
            return folder
    raise UsageError(f"{source} holds no rows: name a folder of *.jsonl, or one with rows/ in it")


def _file(target: Path, row: Row) -> Path:
    return target / f"{row.run_id}.jsonl"


def main() -> None:
    """python scripts/collect.py FROM ... INTO"""
    *sources, target = [Path(word) for word in sys.argv[1:]] or [Path()]
    with in_one_line("paths.runs"):
        if not sources:
            raise UsageError('name the folders to collect from: make collect FROM="A/runs B/runs"')
        print(f"{merge_rows(sources, target)} new rows in {target}")

"""Deleting what runs have made, after a look at what it is; never what a process holds locked."""

import argparse
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from .. import config as cfg
from ..errors import UsageError, in_one_line
from ..results import landscape_panels, store
from ..system.table import console
from ..tables import landscapes
from .inventory import size

PACKED = "cache"  # the data: no run's, and long to make


@dataclass(frozen=True)
class Item:
    """A file or folder right below one of the runs folder's own."""

    path: Path

    @property
    def kind(self) -> str:
        return self.path.parent.name

    @property
    def bytes(self) -> int:
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(file.lstat().st_size for file in files if file.is_file())

    def delete(self) -> None:
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


def items(runs: Path, words: Sequence[str] = ()) -> list[Item]:
    """What there is to delete; with words, only that whose name holds one of them.

    Files right in the runs folder are a person's own. Locks stay, or two processes could come to
    hold one.
    """
    folders = [path for path in runs.glob("*") if path.is_dir() and not path.is_symlink()]
    if folders and not {"checkpoints", "rows"} & {path.name for path in folders}:
        raise UsageError(
            f"{runs} holds no checkpoints and no rows: name a runs folder, paths.runs="
        )
    found = [
        Item(each) for f in sorted(folders) if f.name != PACKED for each in sorted(f.iterdir())
    ]
    found = [each for each in found if each.path.suffix != ".lock"]
    return [each for each in found if not words or any(word in each.path.name for word in words)]


def locked(runs: Path, stack: ExitStack) -> set[str]:
    """Takes every lock that is free, until the stack ends; the names of the others."""
    busy = set()
    for path in sorted(runs.rglob("*.lock")):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            busy.add(path.name)
        else:
            stack.callback(lock.release)
    return busy


def spared(item: Item, busy: set[str]) -> bool:
    """A run with a held lock keeps its files; what does not say whose it is stays while any has."""
    if item.kind not in ("checkpoints", "rows"):
        return bool(busy)
    name = item.path.name.partition(".pt")[0].partition(".jsonl")[0]
    return any(lock.startswith((f"{name}.pt", f"{name}.jsonl", ".collect")) for lock in busy)


def clean(runs: Path, results: Path, words: Sequence[str], yes: bool) -> str:
    """Says what there is, asks, deletes, and says what it did.

    UsageError where there is no terminal to ask at. No lock is held while a person thinks.
    """
    with ExitStack() as stack:
        busy = locked(runs, stack)
    found = items(runs, words)
    doomed = [each for each in found if not spared(each, busy)]
    if len(doomed) < len(found):
        kept = ", ".join(_names(each for each in found if each not in doomed))
        print(f"kept, as a process works there: {kept}")
    if not doomed:
        return f"nothing to delete in {runs}"
    total = size(sum(each.bytes for each in doomed))
    print(f"to be deleted in {runs}, {total}:\n\n{_table(doomed)}\n\n{_lost(doomed, results)}")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "nothing was deleted, there is no terminal to ask at: say yes with "
                "make clean-runs ARGS=--yes"
            )
        if input(f"Delete {total}? [y/N] ").strip().lower() not in ("y", "yes"):
            return "nothing was deleted"
    with ExitStack() as stack:
        busy = locked(runs, stack)
        gone = [each for each in doomed if not spared(each, busy)]
        freed = size(sum(each.bytes for each in gone))
        for each in gone:
            each.delete()
    return f"deleted {freed}"


def _names(found: Iterable[Item]) -> list[str]:
    return sorted({f"{each.kind}/{each.path.name}" for each in found})


def _table(doomed: Sequence[Item]) -> str:
    lines = [["what", "how many", "size", ""]]
    for kind in dict.fromkeys(each.kind for each in doomed):
        mine = [each for each in doomed if each.kind == kind]
        shown = [each.path.name for each in mine]
        names = ", ".join(shown[:4]) + (", ..." if len(shown) > 4 else "")
        lines.append([kind, str(len(shown)), size(sum(each.bytes for each in mine)), names])
    return console(lines, left=(0, 3))


def _lost(doomed: Sequence[Item], results: Path) -> str:
    """How many rows, panels and audits are nowhere else."""
    files = [e.path for e in doomed if e.kind == "rows" and e.path.suffix == ".jsonl"]
    saved = {row.key for row in store.read(sorted(results.glob("*/rows")))}
    rows = [row for row in store.read(files) if row.key not in saved]
    kept = set(_panels(results.glob("*/*.npz")))
    files = [e.path for e in doomed if e.kind == "landscapes" and e.path.suffix == ".npz"]
    drawn = [panel for panel in _panels(files) if panel not in kept]
    audits = [e for e in doomed if e.kind == "audits" and e.path.suffix == ".json"]
    counted = ((rows, "rows"), (drawn, "panels"), (audits, "audits"))
    lost = [f"{len(each)} {what}" for each, what in counted if each]
    if not lost:
        return f"every row among it is in {results} too; what was trained must be trained again"
    remedy = "render their table or figure first to keep them" if rows or drawn else "copy them"
    return f"{' and '.join(lost)} among it are not in {results}: {remedy}"


def _panels(files: Iterable[Path]) -> Iterator[tuple[str, ...]]:
    """What they stand for; a damaged file holds none."""
    for path in files:
        with suppress(UsageError):
            yield from map(landscapes.key, landscape_panels.load(path))


def main() -> None:
    """python scripts/clean_runs.py [WORD ...] [--yes] [paths.runs=...]"""
    parser = argparse.ArgumentParser(prog="clean_runs.py", description=__doc__)
    parser.add_argument("--yes", action="store_true", help="delete without asking")
    parser.add_argument("words", nargs="*", help="names that hold one of these; paths.runs=...")
    given = parser.parse_args()
    with in_one_line("paths.runs"):
        overrides = [word for word in given.words if "=" in word]
        words = [word for word in given.words if "=" not in word]
        paths = cfg.composed(overrides).paths
        print(clean(Path(paths.runs), Path(paths.results), words, given.yes))

"""Rows in files: appended durably, read back, merged from one folder into another.

A row is never changed: a rerun skips the keys that are already there.
"""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from filelock import FileLock

from ..errors import UsageError
from .row import Row


def append(path: Path, row: Row) -> bool:
    """Adds one row durably and says whether it was new.

    Safe between processes. A torn last line, left by a killed process, is cut off first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        rows, sound = _load(path)
        if any(known.key == row.key for known in rows):
            return False
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            with os.fdopen(descriptor, "ab") as file:  # buffered: its flush writes all or raises
                file.truncate(sound)
                file.write(f"{row.to_json()}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
    return True


def read(paths: Iterable[Path]) -> list[Row]:
    """The rows of files and of folders' `*.jsonl`, the first of each key.

    A path that does not exist holds no rows. A torn last line is ignored; anything else that is
    not a row raises UsageError with file:line.
    """
    rows: dict[str, Row] = {}
    for path in paths:
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            for row in _load(file)[0]:
                rows.setdefault(row.key, row)
    return list(rows.values())


def collect(source_dir: Path, target_dir: Path, keep: Callable[[Row], bool]) -> list[Path]:
    """Merges the kept rows of one folder into `<run_id>.jsonl` files of another.

    Where both have a key the source's row stands, and of the target's rows that `keep` takes those
    of other weights than the source's give way, so that no table joins two trainings of a network;
    other tables' rows stay. Rows that recorded no weights stay where none of them contradicts the
    source's. Files are sorted, so a rerun is byte-identical. Returns the files that hold the kept
    rows.
    """
    if not source_dir.is_dir():
        return []
    target_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(source_dir / ".collect.lock"):
        kept = [row for row in read([source_dir]) if keep(row)]
        paths = []
        for run_id in sorted({row.run_id for row in kept}):
            path = target_dir / f"{run_id}.jsonl"
            mine = [row for row in kept if row.run_id == run_id]
            there = read([path])
            others = [row for row in there if not keep(row)]
            same = _of_one_training([row for row in there if keep(row)], mine)
            merged = {row.key: row for row in [*others, *same, *mine]}
            lines = [f"{row.to_json()}\n" for row in sorted(merged.values(), key=_order)]
            partial = path.with_suffix(".partial")
            partial.write_bytes("".join(lines).encode())
            partial.replace(path)
            paths.append(path)
    return paths


def _of_one_training(there: list[Row], mine: list[Row]) -> list[Row]:
    """Those that may be of the same weights as `mine`."""
    weights = {row.weights for row in mine} - {""}
    found = {row.key: row.robust_accuracy for row in mine}
    unknown = [row for row in there if not row.weights]
    same = all(found.get(row.key, row.robust_accuracy) == row.robust_accuracy for row in unknown)
    return [r for r in there if (r.weights in weights or not weights if r.weights else same)]


def _order(row: Row) -> tuple[str, float, str, int, str]:
    return row.attack, row.epsilon, row.protocol, row.eval_seed, row.fingerprint


_parsed: dict[Path, tuple[tuple[int, int, int], tuple[list[Row], int]]] = {}
"""By path: its inode, the time of its last change and its size, and what `_load` found."""


def _load(path: Path) -> tuple[list[Row], int]:
    """The rows of one file, and the length in bytes of the part that is sound.

    A file is parsed once a process, and anew when it has changed: a list or a report of all tables
    reads each file dozens of times.
    """
    if not path.exists():
        return [], 0
    stat = path.stat()
    stamp = stat.st_ino, stat.st_mtime_ns, stat.st_size
    where = path.absolute()
    if where not in _parsed or _parsed[where][0] != stamp:
        _parsed[where] = stamp, _parse(path)
    rows, sound = _parsed[where][1]
    return list(rows), sound


def _parse(path: Path) -> tuple[list[Row], int]:
    *lines, torn = path.read_bytes().split(b"\n")
    rows: list[Row] = []
    sound = 0
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        try:
            row = Row.from_json(line, where)
        except (json.JSONDecodeError, UnicodeDecodeError):
            if number == len(lines) and not torn:
                break
            raise UsageError(
                f"{where}: not a JSON row; delete this line and run the command again, "
                "it measures only what is missing"
            ) from None
        rows.append(row)
        sound += len(line) + 1
    return rows, sound

"""A tree of files, or a tar of one: names, bytes and identity, whatever the files are."""

import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Collection, Container, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from defensive_tensorization.errors import UsageError

OPENERS: dict[str, Callable[..., Any]] = {
    ".tar": open,
    ".tar.gz": gzip.open,
    ".tar.xz": lzma.open,
}


class Source:
    """The tree or tar at `root`; `form` says in an error what it should hold.

    UsageError for a root that is neither, and for whatever cannot be read to its end.
    """

    def __init__(self, root: str | Path, form: str) -> None:
        self.root = _existing(root, form)

    def identity(self) -> str:
        """What changes when the source does: a tar's sha256, or a tree's names, sizes, times."""
        with _reading(self.root):
            if self.root.is_file():
                return "tar " + _sha256(self.root)
            state = sha256()
            for name in _tree_names(self.root):
                stat = os.stat(os.path.join(self.root, name))
                state.update(os.fsencode(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0"))
            return "tree " + state.hexdigest()

    def names(self) -> list[str]:
        """Every file, relative to the root."""
        with _reading(self.root):
            if self.root.is_dir():
                return _tree_names(self.root)
            return [name for name, _ in _tar_files(self.root)]

    def files(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Name and content of each wanted file, in the source's own order."""
        with _reading(self.root):
            if self.root.is_dir():
                for name in wanted:
                    yield name, (self.root / name).read_bytes()
            else:
                for name, data in _tar_files(self.root):
                    if name in wanted:
                        yield name, data


def placed(names: Iterable[str], tops: Container[str]) -> dict[str, tuple[str, ...]]:
    """The parts of every name that is not hidden, below the folders `tops` or the one around."""
    parts = {name: PurePosixPath(name).parts for name in names}
    parts = {name: part for name, part in parts.items() if not any(p[0] == "." for p in part)}
    first = {part[0] if len(part) > 1 else "" for part in parts.values()}
    if len(first) == 1 and not any(top == "" or top in tops for top in first):
        return {name: part[1:] for name, part in parts.items()}  # the tree's own folder, in a tar
    return parts


def _tree_names(root: Path) -> list[str]:
    """Every file below `root`, as sorted names relative to it."""

    def fail(error: OSError) -> None:
        raise error

    names: list[str] = []
    for folder, _, files in os.walk(root, onerror=fail, followlinks=True):
        inside = Path(folder).relative_to(root).as_posix()
        names += files if inside == "." else [f"{inside}/{file}" for file in files]
    return sorted(names)


def _tar_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a tar, read to its very end so that a compressor's checksum is checked."""
    seen = set()
    with OPENERS[_suffix(path)](path, "rb") as stream:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.isdir():
                    continue
                file = archive.extractfile(member) if member.isreg() else None
                if file is None or member.name in seen:
                    raise UsageError(
                        f"{path}: {member.name} is a link, a device or a second file of that "
                        "name: pack plain files, each once"
                    )
                seen.add(member.name)
                yield member.name, file.read()
        while stream.read(1 << 20):
            pass


def _suffix(path: Path) -> str:
    return next((suffix for suffix in OPENERS if path.name.endswith(suffix)), "")


def _sha256(file: Path) -> str:
    """hashlib.file_digest, which Python 3.10 lacks."""
    state = sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            state.update(block)
    return state.hexdigest()


def _existing(root: str | Path, form: str) -> Path:
    path = Path(root).expanduser()
    if not path.exists():
        raise UsageError(
            f"dataset.root={root} does not exist: name a folder with {form}, or a tar of one"
        )
    if path.is_file() and not _suffix(path):
        raise UsageError(
            f"dataset.root={root} is neither a folder nor a tar: name a folder with {form}, "
            f"or a {', '.join(OPENERS)} of one"
        )
    return path


@contextmanager
def _reading(root: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
        raise UsageError(
            f"{root} cannot be read to its end ({error}): it is damaged, cut short or not "
            "permitted, copy or download it again"
        ) from error

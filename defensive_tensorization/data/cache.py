"""A data set packed into one file that is checked whenever it is read.

The file is written by `torch.save` and holds plain tensors and strings, so reading it runs no code.
Its header carries the digest of the tensors, and a seal over the header. Both are recomputed at
every load: the digest that a result row states was checked against the bytes the run used.
"""

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from filelock import FileLock

from defensive_tensorization.data.task import Split
from defensive_tensorization.errors import UsageError

FORMAT = 1  # raise it when what a reader makes of the same source changes
_TRIES = 100  # of a folder that other processes, refused like this one, take away again

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Content:
    """What a reader made of its source: the part of a `Task` that takes time to make."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    origin: str = ""  # how the source was stored, for the title: "JPEG q75"
    validation: Split | None = None

    def splits(self) -> dict[str, Split]:
        named = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: split for name, split in named.items() if split is not None}


def digest(content: Content) -> str:
    """16 hex digits over names, types, shapes and bytes of the splits, and the class names."""
    state = blake2b(json.dumps(content.classes).encode(), digest_size=8)
    for name, split in content.splits().items():
        for tensor in (split.inputs, split.labels):
            state.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            state.update(tensor.cpu().contiguous().reshape(-1).numpy().data)
    return state.hexdigest()


def cached(
    build: Callable[[], Content], *, folder: str | Path | None, name: str, source: str
) -> tuple[Content, str]:
    """The content and its digest, from the cache in `folder` or from `build`, which fills it.

    `source` identifies what `build` reads (checksums, names and sizes). Processes that want the
    same file wait for the one that packs it. A damaged file is packed again, with a warning.
    Without a folder nothing is kept; of a source that `build` refuses nothing is left behind.
    """
    if folder is None:
        content = build()
        return content, digest(content)
    key = _hash(f"{FORMAT} {name} {source}")
    path = Path(folder) / f"{name}-{key}.pt"
    try:
        lock, made = _locked(path)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        found = _read(path, key)
        if found is None:
            log.info("packing %s into %s", name, path)
            content = build()
            found = content, digest(content)
            _write(path, key, *found)
    except UsageError:
        Path(lock.lock_file).unlink(missing_ok=True)
        with suppress(OSError):  # not empty: somebody else's
            for each in made:
                each.rmdir()
        raise
    finally:
        lock.release()
    return found


def _locked(path: Path) -> tuple[FileLock, list[Path]]:
    """Lock `path`, in a folder that is made where there is none.

    Returns: the lock, held, and the folders that were made, innermost first.
    Raises: OSError for a folder that cannot be made or written.
    """
    lock = FileLock(path.with_suffix(".lock"))
    for tried in range(1, _TRIES + 1):
        made = [each for each in (path.parent, *path.parent.parents) if not each.exists()]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
            break
        except FileNotFoundError:  # a process whose source was refused has just removed the folder
            if tried == _TRIES:
                raise
    return lock, made


def _read(path: Path, key: str) -> tuple[Content, str] | None:
    if not path.exists():
        return None
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        if stored["seal"] != _hash(stored["header"]):
            raise ValueError("the header does not match its seal")
        header = json.loads(stored["header"])
        if header["key"] != key:
            raise ValueError("it was packed from another source")
        splits = {name: Split(*pair) for name, pair in stored["splits"].items()}
        content = Content(classes=tuple(header["classes"]), origin=header["origin"], **splits)
        if digest(content) != header["digest"]:
            raise ValueError("the content does not match its digest")
    except Exception as error:  # whatever a damaged file makes of the reader
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("cache file %s is damaged (%s): packing it again", path, reason)
        return None
    return content, str(header["digest"])


def _write(path: Path, key: str, content: Content, content_digest: str) -> None:
    header = json.dumps(
        {
            "key": key,
            "classes": content.classes,
            "origin": content.origin,
            "digest": content_digest,
        }
    )
    splits = {name: (split.inputs, split.labels) for name, split in content.splits().items()}
    temporary = path.with_suffix(".tmp")
    try:
        torch.save({"header": header, "seal": _hash(header), "splits": splits}, temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        temporary.unlink(missing_ok=True)
        raise _unwritable(path.parent, error) from error


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _unwritable(folder: str | Path, error: Exception) -> UsageError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UsageError(
        f"dataset.cache={folder} cannot be written ({reason}): "
        "name a writable folder with space left, or dataset.cache=null for none"
    )

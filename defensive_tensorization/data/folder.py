"""Images in a tree `<root>/{train,test}/<class>/<image>`, or in a tar of such a tree.

Everything is compared with what the data set must hold, and every failure names the file.
Classes keep their given order and files are sorted by name, so a tree and a tar of it give equal
tensors.
"""

import gzip
import lzma
import os
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from defensive_tensorization.data.cache import Content
from defensive_tensorization.data.image import Encoding, describe, read_image
from defensive_tensorization.data.task import Split
from defensive_tensorization.errors import UsageError

IMAGES = (".png", ".jpg", ".jpeg")
OPENERS: dict[str, Callable[..., Any]] = {
    ".tar": open,
    ".tar.gz": gzip.open,
    ".tar.xz": lzma.open,
}


def identity(root: str | Path) -> str:
    """What changes when the source does: a tar's sha256, or a tree's names, sizes and times."""
    root = _existing(root)
    with _reading(root):
        if root.is_file():
            with root.open("rb") as file:
                return "tar " + file_digest(file, "sha256").hexdigest()
        state = sha256()
        for name in _tree_names(root):
            stat = os.stat(os.path.join(root, name))
            state.update(os.fsencode(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0"))
        return "tree " + state.hexdigest()


def read(
    root: str | Path,
    *,
    classes: Sequence[str],
    per_class: Mapping[str, int],
    size: tuple[int, int],
) -> Content:
    """Every image of the splits "train" and "test" as uint8 [N, 3, height, width].

    `per_class` is the exact number of images of each class in each split, `size` is
    (height, width). UsageError for a file that is missing, damaged, of another size or mode, in
    another folder, or one too many. Hidden files, and texts beside the splits, are passed over.
    """
    root = _existing(root)
    inputs = {
        split: np.empty((len(classes) * count, 3, *size), dtype=np.uint8)
        for split, count in per_class.items()
    }
    encodings: set[Encoding] = set()
    with _reading(root):
        names = _tree_names(root) if root.is_dir() else [name for name, _ in _tar_files(root)]
        places = _places(root, names, classes, per_class)
        files = _tar_files(root) if root.is_file() else _tree_files(root, places)
        for name, data in files:
            if name in places:
                split, position = places[name]
                pixels, encoding = read_image(data, f"{root}: {name}", size)
                inputs[split][position] = pixels
                encodings.add(encoding)
    labels = {
        split: torch.arange(len(classes)).repeat_interleave(count)
        for split, count in per_class.items()
    }
    splits = {split: Split(torch.from_numpy(inputs[split]), labels[split]) for split in per_class}
    return Content(classes=tuple(classes), origin=describe(encodings), **splits)


def _places(
    root: Path, names: Sequence[str], classes: Sequence[str], per_class: Mapping[str, int]
) -> dict[str, tuple[str, int]]:
    """The split of each image, and its position there; UsageError unless all are as they must."""
    parts = {name: PurePosixPath(name).parts for name in names}
    parts = {name: part for name, part in parts.items() if not any(p[0] == "." for p in part)}
    tops = {part[0] if len(part) > 1 else "" for part in parts.values()}
    if len(tops) == 1 and not tops & {"", *per_class}:  # the tree's own folder, inside a tar
        parts = {name: part[1:] for name, part in parts.items()}
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, part in parts.items():
        image = part[-1].lower().endswith(IMAGES)
        if len(part) == 1 and not image:
            continue
        if len(part) != 3 or part[0] not in per_class or not image:
            raise UsageError(
                f"{root}: {name} is out of place, every file must be "
                f"<{'|'.join(per_class)}>/<class>/<image>.<png|jpg|jpeg>: remove or rename it"
            )
        if part[1] not in classes:
            raise UsageError(
                f"{root}: {name} has the unknown class {part[1]!r}, the classes are "
                f"{', '.join(classes)}: rename or remove its folder"
            )
        found[part[0], part[1]].append(name)
    places: dict[str, tuple[str, int]] = {}
    for split, count in per_class.items():
        for label, class_name in enumerate(classes):
            images = sorted(found[split, class_name], key=lambda name: parts[name][-1])
            if len(images) != count:
                raise UsageError(
                    f"{root}: {split}/{class_name} holds {len(images):,} images, the data set has "
                    f"exactly {count:,}: copy or download it again, whole"
                )
            places |= {name: (split, label * count + i) for i, name in enumerate(images)}
    return places


def _tree_names(root: Path) -> list[str]:
    """Every file below `root`, as sorted names relative to it."""

    def fail(error: OSError) -> None:
        raise error

    names: list[str] = []
    for folder, _, files in os.walk(root, onerror=fail, followlinks=True):
        inside = Path(folder).relative_to(root).as_posix()
        names += files if inside == "." else [f"{inside}/{file}" for file in files]
    return sorted(names)


def _tree_files(root: Path, names: Mapping[str, object]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        yield name, (root / name).read_bytes()


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


def _existing(root: str | Path) -> Path:
    path = Path(root).expanduser()
    if not path.exists():
        raise UsageError(
            f"dataset.root={root} does not exist: name a folder with "
            f"{{train,test}}/<class>/*.{{png,jpg,jpeg}}, or a tar of one"
        )
    if path.is_file() and not _suffix(path):
        raise UsageError(
            f"dataset.root={root} is neither a folder nor a tar: name a folder with "
            f"{{train,test}}/<class>/*.{{png,jpg,jpeg}}, or a {', '.join(OPENERS)} of one"
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

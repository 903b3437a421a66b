"""Images in a tree `<root>/{train,test}/<class>/<image>`, or in a tar of such a tree.

Everything is compared with what the data set must hold, and every failure names the file.
Classes keep their given order and files are sorted by name, so a tree and a tar of it give equal
tensors.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from defensive_tensorization.data.cache import Content
from defensive_tensorization.data.image import Encoding, describe, read_image
from defensive_tensorization.data.source import Source, placed
from defensive_tensorization.data.task import Split
from defensive_tensorization.errors import UsageError
from defensive_tensorization.system.progress import bar

IMAGES = (".png", ".jpg", ".jpeg")
FORM = "{train,test}/<class>/*.{png,jpg,jpeg}"


def identity(root: str | Path) -> str:
    """What changes when the source does: a tar's sha256, or a tree's names, sizes and times."""
    return Source(root, FORM).identity()


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
    source = Source(root, FORM)
    inputs = {
        split: np.empty((len(classes) * count, 3, *size), dtype=np.uint8)
        for split, count in per_class.items()
    }
    encodings: set[Encoding] = set()
    places = _places(source.root, source.names(), classes, per_class)
    for name, data in bar(source.files(places), len(places), f"reading {source.root}", "files"):
        split, position = places[name]
        pixels, encoding = read_image(data, f"{source.root}: {name}", size)
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
    parts = placed(names, per_class)
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

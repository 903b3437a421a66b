"""CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images of ten classes, 32x32."""

from http.client import HTTPException
from pathlib import Path

import torch

from defensive_tensorization.data import folder
from defensive_tensorization.data.cache import Content, cached
from defensive_tensorization.data.task import Split, Task
from defensive_tensorization.errors import UsageError

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
PER_CLASS = {"train": 5000, "test": 1000}
SIZE = (32, 32)
ARCHIVE_MD5 = "c58f30108f718f92721af3b95e74349a"  # of the original, which torchvision checks


def load(
    *,
    name: str,
    unit: float,
    source: str,
    root: str | Path,
    download: bool = False,
    cache: str | Path | None = None,
) -> Task:
    """CIFAR-10 as uint8 [N, 3, 32, 32], checked whole.

    source "torchvision" reads the original below `root`, by checksum, and downloads it there if
    asked; once it is in the cache, `root` is no longer needed. source "folder" reads the tree or
    tar at `root`, and the title says how its images are stored.
    """
    if source == "torchvision":
        content, digest = cached(
            lambda: _original(Path(root).expanduser(), download),
            folder=cache,
            name=name,
            source=f"torchvision {ARCHIVE_MD5}",
        )
    elif source == "folder":
        content, digest = cached(
            lambda: folder.read(root, classes=CLASSES, per_class=PER_CLASS, size=SIZE),
            folder=cache,
            name=name,
            source=f"{folder.identity(root)} {CLASSES} {PER_CLASS} {SIZE}",
        )
    else:
        raise UsageError(f"dataset.source must be torchvision or folder, got {source!r}")
    return Task(
        name=name,
        title=f"CIFAR-10, {content.origin}" if content.origin else "CIFAR-10",
        classes=content.classes,
        **content.splits(),
        bounds=(0.0, 1.0),
        unit=unit,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        flip=True,
        digest=digest,
    )


def _original(root: Path, download: bool) -> Content:
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    remedy = "set dataset.download=true, or dataset.source=folder dataset.root=<tree or tar>"
    if download:
        try:
            CIFAR10(str(root), download=True)
        except (OSError, RuntimeError, HTTPException) as error:
            raise UsageError(
                f"CIFAR-10 cannot be downloaded to {root} ({error}): connect to the network, copy "
                f"{CIFAR10.base_folder} into it, or use dataset.source=folder"
            ) from error
    batches = [*CIFAR10.train_list, *CIFAR10.test_list]
    for file, md5 in [*batches, [CIFAR10.meta["filename"], CIFAR10.meta["md5"]]]:
        path = root / CIFAR10.base_folder / file
        if not check_integrity(str(path), md5):
            state = "does not match its checksum" if path.is_file() else "is missing"
            raise UsageError(f"CIFAR-10: {path} {state}: {remedy}")
    return Content(train=_split(root, True), test=_split(root, False), classes=CLASSES)


def _split(root: Path, train: bool) -> Split:
    from torchvision.datasets import CIFAR10

    data = CIFAR10(str(root), train=train)
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()  # from [N, 32, 32, 3]
    return Split(images, torch.tensor(data.targets))

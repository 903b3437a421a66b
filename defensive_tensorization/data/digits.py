"""scikit-learn's handwritten digits: they come with the package, so nothing is downloaded."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from defensive_tensorization.data.cache import Content, cached
from defensive_tensorization.data.task import Split, Task

MEAN, STD = 0.305, 0.376  # of the training split


def load(*, name: str, unit: float, cache: str | Path | None = None) -> Task:
    """1,437 training and 360 test images, uint8 [N, 3, 32, 32], split by class with seed 0."""
    content, digest = cached(
        _read, folder=cache, name=name, source=f"scikit-learn {version('scikit-learn')}"
    )
    return Task(
        name=name,
        title="scikit-learn digits, 1,797 images upscaled to 3x32x32",
        classes=content.classes,
        **content.splits(),
        bounds=(0.0, 1.0),
        unit=unit,
        mean=(MEAN,) * 3,
        std=(STD,) * 3,
        flip=False,
        digest=digest,
    )


def _read() -> Content:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    source = load_digits()
    gray = np.rint(source.images * (255 / 16)).astype(np.uint8)  # [N, 8, 8], from 0..16
    large = gray.repeat(4, axis=1).repeat(4, axis=2)  # [N, 32, 32]
    images = torch.from_numpy(large)[:, None].repeat(1, 3, 1, 1)
    labels = torch.from_numpy(source.target).to(torch.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=360, stratify=source.target, random_state=0
    )
    return Content(
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
        classes=tuple(str(digit) for digit in range(10)),
    )

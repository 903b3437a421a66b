"""A made-up data set of small random images, for tests of training and evaluation."""

import torch

from defensive_tensorization.data import Split, Task


def split(n: int, classes: int = 4, size: int = 8, seed: int = 0) -> Split:
    made = torch.Generator().manual_seed(seed)
    inputs = torch.randint(256, (n, 3, size, size), generator=made, dtype=torch.uint8)
    return Split(inputs, torch.randint(classes, (n,), generator=made))


def task(train: Split, test: Split, *, flip: bool = False, classes: int = 4) -> Task:
    return Task(
        name="fake",
        title="made-up images",
        classes=tuple(map(str, range(classes))),
        train=train,
        test=test,
        bounds=(0.0, 1.0),
        unit=1 / 255,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        flip=flip,
        digest="0" * 16,
    )

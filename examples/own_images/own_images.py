"""A data set of your own: any folder of images, {train,test}/<class>/*."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from defensive_tensorization.data import Split, Task
from defensive_tensorization.data.cache import Content, digest
from defensive_tensorization.errors import UsageError


def load(*, name: str, unit: float, root: str, size: int = 32) -> Task:
    """Every image, resized to `size` pixels square, as uint8 [N, 3, size, size]."""
    classes = tuple(sorted(path.name for path in Path(root, "train").glob("*") if path.is_dir()))
    if not classes:
        raise UsageError(f"dataset.root={root} is no folder of {{train,test}}/<class>/<image>")

    def split(part: str) -> Split:
        images, labels = [], []
        for label, of in enumerate(classes):
            for path in sorted(Path(root, part, of).glob("[!.]*")):
                try:
                    with Image.open(path) as image:
                        images.append(np.asarray(image.convert("RGB").resize((size, size))))
                except OSError:
                    raise UsageError(f"{path} is no intact image: take it away") from None
                labels.append(label)
            if label not in labels:
                raise UsageError(f"{root}/{part}/{of} holds no image: every class needs some")
        inputs = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        return Split(inputs, torch.tensor(labels))

    train, test = split("train"), split("test")
    pixels = train.inputs.float() / 255
    return Task(
        name=name,
        title=f"images of {Path(root).name}, {size}x{size}",
        classes=classes,
        train=train,
        test=test,
        bounds=(0.0, 1.0),
        unit=unit,
        mean=tuple(pixels.mean((0, 2, 3)).tolist()),
        std=tuple(pixels.std((0, 2, 3)).tolist()),
        flip=True,
        digest=digest(Content(train=train, test=test, classes=classes)),
    )

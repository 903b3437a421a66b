"""What a data set is to the rest of the package."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from defensive_tensorization.errors import UsageError


@dataclass(frozen=True)
class Split:
    """Examples in their stored form; `decode` turns a batch of them into floats."""

    inputs: Tensor  # uint8 [N, C, H, W] for images, int16 [N, 1, L] for audio
    labels: Tensor  # int64 [N]

    def __len__(self) -> int:
        return len(self.labels)

    def head(self, count: int) -> "Split":
        """The first `count` examples of a fixed permutation (seed 0)."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(0))
        chosen = order[:count].to(self.labels.device)
        return Split(self.inputs[chosen], self.labels[chosen])

    def part(self, images: int | None, key: str) -> "Split":
        """`head` of as many as the setting `key` says; None: all, in order.

        UsageError names the key where there are not so many.
        """
        if images is None:
            return self
        if not 0 < images <= len(self):
            raise UsageError(f"{key} must lie in 1..{len(self)}, got {images}")
        return self.head(images)

    def to(self, device: torch.device | str) -> "Split":
        return Split(self.inputs.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Task:
    """A classification data set, whole, with what a model, an attack and a caption need of it."""

    name: str
    title: str  # what a caption says about the data
    classes: tuple[str, ...]
    train: Split
    test: Split
    bounds: tuple[float, float]  # of a decoded input
    unit: float  # the amplitude that epsilon = 1 stands for: 1/255 for images
    mean: tuple[float, ...]  # per channel, of decoded inputs, for the normalisation in the model
    std: tuple[float, ...]
    flip: bool  # a horizontal flip keeps the label
    digest: str  # 16 hex digits over the content of every split and the class names
    validation: Split | None = None

    @property
    def kind(self) -> str:
        """What an example is: "images", or "clips" of sound."""
        return "images" if self.train.inputs.ndim == 4 else "clips"

    def to(self, device: torch.device | str) -> "Task":
        """The same task with every split on `device`."""
        return replace(
            self,
            train=self.train.to(device),
            test=self.test.to(device),
            validation=None if self.validation is None else self.validation.to(device),
        )


def decode(inputs: Tensor) -> Tensor:
    """Stored inputs as float32: uint8 becomes x / 255 in [0, 1], int16 x / 32768 in [-1, 1]."""
    scales = {torch.uint8: 255.0, torch.int16: 32768.0}
    if inputs.dtype not in scales:
        raise TypeError(f"inputs must be uint8 or int16, got {inputs.dtype}")
    return inputs.to(torch.float32) / scales[inputs.dtype]

"""ResNet-18 for 32x32 images (He et al. 2016; the CIFAR form: 3x3 stem, no max-pool)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Factory = Callable[..., nn.Module]


class Normalize(nn.Module):
    """(x - mean) / std per channel, inside the network: attacks see the data's own range."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class BasicBlock(nn.Module):
    """[B, c_in, H, W] to [B, c_out, H / stride, W / stride]."""

    def __init__(self, c_in: int, c_out: int, stride: int, conv: Factory, norm: Factory) -> None:
        super().__init__()
        self.conv1 = conv(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = norm(c_out)
        self.conv2 = conv(c_out, c_out, 3, stride=1, padding=1, bias=False)
        self.norm2 = norm(c_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(
                conv(c_in, c_out, 1, stride=stride, padding=0, bias=False), norm(c_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return F.relu(y + self.shortcut(x))


class ResNet18(nn.Module):
    """[B, 3, 32, 32] in [0, 1] to logits [B, classes]. Stages of width 1, 2, 4 and 8 times `width`.

    conv and norm are the layer factories, called as nn.Conv2d and nn.BatchNorm2d are.
    """

    reads = "images"
    dimensions = 2  # of its convolutions

    def __init__(
        self,
        *,
        width: int,
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        conv: Factory = nn.Conv2d,
        norm: Factory = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.stem = conv(len(mean), width, 3, stride=1, padding=1, bias=False)
        self.norm = norm(width)
        self.stage1 = self._stage(width, width, 1, conv, norm)
        self.stage2 = self._stage(width, 2 * width, 2, conv, norm)
        self.stage3 = self._stage(2 * width, 4 * width, 2, conv, norm)
        self.stage4 = self._stage(4 * width, 8 * width, 2, conv, norm)
        self.head = nn.Linear(8 * width, classes)

    @staticmethod
    def _stage(c_in: int, c_out: int, stride: int, conv: Factory, norm: Factory) -> nn.Sequential:
        return nn.Sequential(
            BasicBlock(c_in, c_out, stride, conv, norm), BasicBlock(c_out, c_out, 1, conv, norm)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(self.normalize(x))))
        x = self.stage4(self.stage3(self.stage2(self.stage1(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits

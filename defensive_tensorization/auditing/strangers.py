"""Randomized defences as others write them, out of the generators that everybody shares.

For the panel: none of them makes a network robust that was trained on clean images alone.
"""

import random
from copy import deepcopy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NormalNoise(nn.Module):
    """The network behind normal noise of a standard deviation, from torch's global generator."""

    def __init__(self, network: nn.Module, size: float) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.network(x + self.size * torch.randn_like(x))
        return made


class ResizeAndPad(nn.Module):
    """The network behind random shrinking and padding (Xie et al. 2018), from Python's generator.

    least  the smallest side, as a share of the image's.
    """

    def __init__(self, network: nn.Module, least: float) -> None:
        super().__init__()
        self.network = network
        self.least = least

    def forward(self, x: Tensor) -> Tensor:
        high, wide = x.shape[-2:]
        scale = random.uniform(self.least, 1.0)
        size = (max(1, round(high * scale)), max(1, round(wide * scale)))
        small = F.interpolate(x, size, mode="bilinear", align_corners=False)
        top, left = random.randint(0, high - size[0]), random.randint(0, wide - size[1])
        below, right = high - size[0] - top, wide - size[1] - left
        made: Tensor = self.network(F.pad(small, (left, right, top, below)))
        return made


class LeftOn(nn.Dropout):
    """Dropout that evaluation does not turn off."""

    def train(self, mode: bool = True) -> "LeftOn":
        return super().train(True)


class DropoutLeftOn(nn.Module):
    """A copy of the network with dropout in front of its last linear layer, left on."""

    def __init__(self, network: nn.Module, rate: float) -> None:
        super().__init__()
        self.network = deepcopy(network)
        name, last = [m for m in self.network.named_modules() if isinstance(m[1], nn.Linear)][-1]
        parent = self.network.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], nn.Sequential(LeftOn(rate), last))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.network(x)
        return made


class RandomMember(nn.Module):
    """One of three networks at each forward, by numpy's generator: shifted by a pixel or not."""

    def __init__(self, network: nn.Module, pixels: int = 1) -> None:
        super().__init__()
        self.network = network
        self.pixels = pixels

    def forward(self, x: Tensor) -> Tensor:
        shift = self.pixels * int(np.random.randint(-1, 2))
        made: Tensor = self.network(torch.roll(x, shift, -1))
        return made

"""ResNet-18 for 32x32 images (He et al. 2016; the CIFAR form: 3x3 stem, no max-pool)."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ..system.convolution import FEW
from .network import Network, Parts
from .precision import Factory, Order


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


class Subsample(nn.Module):
    """[B, C, H, W] to [B, C, H / stride, W / stride]: every `stride`-th row and column."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride]


def _strided(
    conv: Factory, c_in: int, c_out: int, stride: int
) -> tuple[dict[str, nn.Module], nn.Module]:
    """A 1x1 convolution, and what must stand before it.

    Of few channels oneDNN gets a strided one's gradient wrong on some processors: subsampling
    first, then moving by 1, is the same function (convolution.py).
    """
    before: dict[str, nn.Module] = {}
    if c_in <= FEW and stride > 1:
        before, stride = {"every": Subsample(stride)}, 1
    return before, conv(c_in, c_out, 1, stride=stride, padding=0, bias=False)


class BasicBlock(nn.Module):
    """[B, c_in, H, W] to [B, c_out, H / stride, W / stride]."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        conv: Factory,
        shortcut: Factory,
        norm: Factory,
        relu: Factory,
    ) -> None:
        super().__init__()
        self.conv1 = conv(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = norm(c_out)
        self.conv2 = conv(c_out, c_out, 3, stride=1, padding=1, bias=False)
        self.norm2 = norm(c_out)
        self.relu1, self.relu2 = relu(), relu()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            every, conv1x1 = _strided(shortcut, c_in, c_out, stride)
            self.shortcut = nn.Sequential(OrderedDict({**every, "0": conv1x1, "1": norm(c_out)}))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return cast(Tensor, self.relu2(y + self.shortcut(x)))


class SignBlock(BasicBlock):
    """Without ReLU, for convolutions that take the sign of their input."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x))
        y = self.norm2(self.conv2(y))
        return cast(Tensor, y + self.shortcut(x))


class NormSignBlock(nn.Module):
    """The same with BatchNorm in front of every sign."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        conv: Factory,
        shortcut: Factory,
        norm: Factory,
        relu: Factory,
    ) -> None:
        super().__init__()
        self.norm1 = norm(c_in)
        self.conv1 = conv(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.norm2 = norm(c_out)
        self.conv2 = conv(c_out, c_out, 3, stride=1, padding=1, bias=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            every, conv1x1 = _strided(shortcut, c_in, c_out, stride)
            self.shortcut = nn.Sequential(OrderedDict({"0": norm(c_in), **every, "1": conv1x1}))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.norm1(x))
        y = self.conv2(self.norm2(y))
        return cast(Tensor, y + self.shortcut(x))


class Layout(NamedTuple):
    """Of a network's blocks, what follows the stem, and what follows the last block."""

    block: Callable[..., nn.Module]
    after_stem: Callable[[Factory], nn.Module]
    after_blocks: Callable[[int, Factory, Factory], nn.Module]


def _relu(relu: Factory) -> nn.Module:
    return relu()


def _nothing(*of: object) -> nn.Module:
    return nn.Identity()


def _norm_relu(channels: int, norm: Factory, relu: Factory) -> nn.Module:
    return nn.Sequential(norm(channels), relu())


LAYOUTS: dict[Order, Layout] = {
    "conv_norm_relu": Layout(BasicBlock, _relu, _nothing),
    "norm_sign_conv": Layout(NormSignBlock, _nothing, _norm_relu),
    "sign_conv_norm": Layout(SignBlock, _nothing, _norm_relu),
}


class ResNet18(Network):
    """[B, 3, 32, 32] in [0, 1] to logits [B, classes]; stages of 1, 2, 4 and 8 times `width`."""

    reads = "images"
    dimensions = 2  # of its convolutions

    def build(self, of: Parts) -> None:
        layout, width, norm, relu = LAYOUTS[of.precision.order], of.width, of.norm, of.relu
        self.normalize = Normalize(of.mean, of.std)
        self.stem = of.at("first")(len(of.mean), width, 3, stride=1, padding=1, bias=False)
        self.norm = norm(width)
        self.activation = layout.after_stem(relu)
        inner = of.at("inner"), of.at("shortcut"), norm, relu

        def stage(c_in: int, c_out: int, stride: int) -> nn.Sequential:
            return nn.Sequential(
                layout.block(c_in, c_out, stride, *inner), layout.block(c_out, c_out, 1, *inner)
            )

        self.stage1 = stage(width, width, 1)
        self.stage2 = stage(width, 2 * width, 2)
        self.stage3 = stage(2 * width, 4 * width, 2)
        self.stage4 = stage(4 * width, 8 * width, 2)
        self.tail = layout.after_blocks(8 * width, norm, relu)
        self.head = of.at("last")(8 * width, of.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.norm(self.stem(self.normalize(x))))
        x = self.stage4(self.stage3(self.stage2(self.stage1(x))))
        logits: Tensor = self.head(self.tail(x).mean((2, 3)))
        return logits

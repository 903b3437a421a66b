"""Gradients of small convolutions against float64. A process of its own runs this file
(test_convolution.py): on some processors a wrong layout ends in a crash of the interpreter.

The dense layer is held in its own layout alone: in channels_last it is the library's fault.
"""

import gc
import sys
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn

import defensive_tensorization as dt
from defensive_tensorization.models import ResNet18

Make = Callable[[nn.Conv2d], nn.Module]

REPEATS = 4  # the fault is intermittent
SHAPES = tuple(product((1, 3), (1, 2), range(1, 10)))  # window, stride, input channels
# Where the library computes another convolution than it is asked for, and two of each other kind.
FEW = tuple(each for each in SHAPES if each[:2] == (1, 2) or each[2] in (3, 8))
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
WAYS: dict[str, tuple[Make, tuple[str, ...]]] = {
    "dense": (nn.Sequential, ("contiguous",)),
    "tensorized": (lambda conv: dt.tensorize(nn.Sequential(conv), theta=1.0), tuple(FORMATS)),
    "binary": (lambda conv: dt.binarize(nn.Sequential(conv), exclude=[]), tuple(FORMATS)),
}


def gradient(layer: nn.Module, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    layer(x).square().sum().backward()
    assert x.grad is not None
    return x.grad


def check(make: Make, layout: str, window: int, stride: int, channels: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 8, window, stride, window // 2, bias=False)
    x = torch.rand(4, channels, 16, 16)
    x = torch.empty_like(x, memory_format=FORMATS[layout]).copy_(x)
    layer = make(conv)
    want = gradient(layer.double(), x.double())
    layer.float()
    for _ in range(REPEATS):
        got = gradient(layer, x)
    torch.testing.assert_close(got.double(), want, rtol=1e-3, atol=1e-3)
    y = layer(x)
    assert y.is_contiguous(memory_format=FORMATS[layout]), y.stride()


def check_resnet(width: int) -> None:
    torch.manual_seed(0)
    network = ResNet18(width=width, classes=10, mean=[0.5] * 3, std=[0.25] * 3).eval()
    network.to(memory_format=torch.channels_last)
    x = torch.rand(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    want = gradient(network.double(), x.double())
    network.float()
    for _ in range(REPEATS):
        got = gradient(network, x)
    torch.testing.assert_close(got.double(), want, rtol=1e-2, atol=1e-3)


if __name__ == "__main__":
    torch.set_num_threads(1)
    gc.freeze()  # tensorize looks through all objects for those that hold the old weights
    shapes = FEW if sys.argv[1:] == ["few"] else SHAPES
    for name, (make, layouts) in WAYS.items():
        for layout, shape in product(layouts, shapes):
            print(name, layout, *shape, flush=True)  # what a crash was about
            check(make, layout, *shape)
    for width in (2, 4, 7):
        check_resnet(width)
    print("right")

"""The floor of a randomized kernel's cost: by hand, and against torch's own counter."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from defensive_tensorization.tucker import TuckerConv2d

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))

import bench
import bench_layers
from layer_counts import (
    ATTACK,
    FORWARD,
    TRAINING,
    Convolution,
    convolutions,
    floor,
)
from layer_floor import per_layer, rest

OPERATIONS = (FORWARD, ATTACK, TRAINING)


def test_by_hand() -> None:
    """Kernel 4x3x3x3, core 2x3x3x3, 10 positions in and 5 out."""
    c = Convolution((4, 3, 3, 3), (2, 3, 3, 3), 10, 5)
    assert c.dense(FORWARD) == 4 * 3 * 9 * 5 == 540
    assert c.dense(TRAINING) == 3 * 540
    assert Convolution(c.kernel, c.core, 10, 5, first=True).dense(TRAINING) == 2 * 540
    window, channels = 2 * 3 * 9 * 9, 2 * 9 * 3 * 3 + 4 * 2 * 9 * 3  # 486, 162 + 216
    assert c.reconstruct(FORWARD, 0.9) == 540 + channels == 918
    assert c.reconstruct(ATTACK, 0.9) == 2 * 540 + 378
    assert c.reconstruct(ATTACK, 1) == 2 * 540  # the kernel is kept
    assert c.reconstruct(TRAINING, 0.9) == 3 * (540 + 378 + window) == 4212
    split = 10 * 3 * 3 + 5 * 2 * 3 * 9 + 5 * 4 * 2  # 90, 270, 40
    assert c.factorized(FORWARD) == split == 400
    assert c.factorized(TRAINING) == 3 * (400 + 486)
    assert c.ours(FORWARD, 0.9) == 400 and c.ours(FORWARD, 1) == 400
    wide = Convolution((4, 3, 3, 3), (2, 3, 3, 3), 1000, 500)
    both = [wide, c]
    least = wide.ours(TRAINING, 0.9), c.ours(TRAINING, 0.9)
    assert least == (min(3 * (54_000 + 864), 3 * (40_000 + 486)), min(4212, 2658))
    assert floor(both, TRAINING, 0.9) == pytest.approx(sum(least) / (3 * 54_540))


def counted(run: Callable[[], object]) -> int:
    """Multiply-adds by torch's counter, which counts each as two operations."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(
    ("kernel", "rank", "stride", "size"),
    [
        ((16, 12, 3, 3), "full", 1, 12),
        ((16, 12, 3, 3), "full", 1, 2),
        ((16, 12, 3, 3), (8, 6, 3, 3), 2, 8),
        ((16, 12, 3, 3), (4, 3, 2, 2), 1, 8),
        ((16, 12, 1, 1), "full", 2, 8),
    ],
)
def test_torch_counts_the_same(
    kernel: tuple[int, ...], rank: str, stride: int, size: int, first: bool
) -> None:
    """What the layer does, whichever way it takes; the two gradients are counted in training."""
    n0, n1, k, _ = kernel
    dense = nn.Conv2d(n1, n0, k, stride=stride, padding=k // 2, bias=False)
    layer = TuckerConv2d.from_conv(dense, 0.8, rank=rank, init="random", min_dim=3)
    x = torch.rand(3, n1, size, size, requires_grad=not first)
    outputs = 3 * len(range(0, size, stride)) ** 2
    core = tuple(layer.weight.core.shape)
    c = Convolution(kernel, core, 3 * size**2, outputs, first)
    layer.train()
    way = c.factorized(TRAINING) if layer._cheaper_factorized(x) else c.reconstruct(TRAINING, 0.8)
    assert counted(lambda: layer(x).sum().backward()) == way
    assert counted(lambda: dense(x).sum().backward()) == c.dense(TRAINING)
    assert c.ours(TRAINING, 0.8) <= way


def test_the_layers_of_a_network_are_found_with_their_positions() -> None:
    net = nn.Sequential(
        TuckerConv2d.from_conv(nn.Conv2d(3, 4, 3, padding=1), 0.8, init="random"),
        nn.ReLU(),
        TuckerConv2d.from_conv(nn.Conv2d(4, 8, 3, stride=2, padding=1), 0.8, init="random"),
    )
    found = convolutions(net, 5)
    assert list(found) == ["0", "2"] and net.training
    assert found["0"] == Convolution((4, 3, 3, 3), (4, 3, 3, 3), 5120, 5120, first=True)
    assert found["2"] == Convolution((8, 4, 3, 3), (8, 4, 3, 3), 5120, 1280)
    lines = per_layer(net, found, 5, 0.0, ("float32",))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[4:]]
    assert [row[:4] for row in cells[:2]] == [
        ["0", "4x3x3x3", "1024", f"{floor([found['0']], TRAINING, 0.8):.2f}"],
        ["2", "8x4x3x3", "256", f"{floor([found['2']], TRAINING, 0.8):.2f}"],
    ]
    assert all(float(row[4].split()[0]) > 0 for row in cells[:2])
    assert cells[2][:4] == ["all", "", "", f"{floor(found.values(), TRAINING, 0.8):.2f}"]


def test_where_the_rest_goes_by_hand() -> None:
    lines = rest(
        {"convolution": 80.0, "Python": 20.0}, {"convolution": 70.0, "new": 30.0}, 1.2, 1.1
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:-2]]
    assert rows == [
        ["convolution", "80.0", "84.0", "+4.0"],
        ["new", "0.0", "36.0", "+36.0"],
        ["Python", "20.0", "0.0", "-20.0"],
        ["all", "100.0", "120.0", "+20.0"],
    ]
    assert lines[-1].startswith("By operation count 10.0% more are due")


def test_the_table_has_the_floor_beside_the_ratio() -> None:
    of = {"width": 64, "dtype": "float32", "batch": 128, "theta": 0.8}
    s = bench_layers.Randomized(**of, operation=TRAINING)
    taken = {"dense": 2.0, "ours": 2.5, "tensorly-torch": 3.0}
    timings = [bench.Timing(s, kind, t, t, 5) for kind, t in taken.items()]
    lines = bench_layers.markdown(timings, {s: 1.2}, {})
    row = "| 64 | float32 | 128 | 0.8 | training step | 2000.0 | 1.20 | 1.25 (1.25) | 1.50 (1.50) |"
    assert row in lines
    assert any("theta 0.8 takes 1.04 of its floor (aim: at most 1.05)" in line for line in lines)


def test_floors_are_those_of_the_settings() -> None:
    """At width 16 and batch 1, theta = 1 keeps the kernels of a fixed network: its floor is 1."""
    of = {"width": 16, "dtype": "float32", "batch": 1}
    settings = [
        bench_layers.Randomized(**of, theta=theta, operation=operation)
        for theta in (1.0, 0.8)
        for operation in OPERATIONS
    ]
    found = [round(each, 2) for each in bench_layers.floors(settings).values()]
    assert found[:2] == [1, 1] and min(found[2:]) > 1.1 and found[2] == found[5]

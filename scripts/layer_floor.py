"""Of results/bench/layers.md: each layer's floor beside its time, and where the rest goes."""

from collections.abc import Callable, Mapping
from itertools import groupby

import torch
from bench import Ratio, Setting, interleaved, over
from layer_counts import TRAINING, Convolution, convolutions, floor
from profile_steps import DATA, PYTHON, UPDATE, steps
from torch import nn

from defensive_tensorization.tucker import TuckerConv2d

DTYPES = ("float32", "bfloat16")


def above_the_floor(
    net: nn.Module, s: Setting, theta: float, ratio: float, budget: float
) -> list[str]:
    """A training step of ours layer by layer, and where the time of the whole goes.

    Args:
        ratio: of the whole step, measured, ours over dense.
        budget: seconds a layer and type, at least 5 rounds.
    """
    device = next(net.parameters()).device
    ways = ("defence=none", f"theta={theta:g}")
    dense, ours = (steps(way, s.width, s.batch, s.dtype, device)["a training step"] for way in ways)
    layers = convolutions(net, s.batch)
    return [
        *per_layer(net, layers, s.batch, budget),
        "",
        f"Where a training step goes (profile_steps.py; width {s.width}, batch {s.batch}, theta "
        f"{theta:g}, {s.dtype}): each part's share of the step, of ours times the measured ratio:",
        "",
        *rest(dense, ours, ratio, floor(layers.values(), TRAINING, theta)),
    ]


def step(layer: nn.Module, c: Convolution, batch: int, dtype: str) -> Callable[[], None]:
    """Forward and gradients of one layer alone, as in a training step."""
    device = next(layer.parameters()).device
    size = round((c.inputs // batch) ** 0.5)
    x = torch.rand(batch, c.kernel[1], size, size, device=device)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_(not c.first)
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16")
    with torch.no_grad(), mixed:
        towards = torch.rand_like(layer(x))

    def run() -> None:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        with mixed:
            y = layer(x)
        y.backward(towards)

    return run


def per_layer(
    net: nn.Module,
    layers: Mapping[str, Convolution],
    batch: int,
    budget: float,
    dtypes: tuple[str, ...] = DTYPES,
) -> list[str]:
    """A table of layers, those that are alike once: the floor of a training step, and the time."""
    net.train().requires_grad_(True)
    lines = [
        f"Each layer's training step alone, ours over dense, batch {batch}: the floor by operation "
        "count (multiply-adds: forward, gradients of input and weights, the kernel's contraction "
        "and its gradients), and the time, minimum (median):",
        "",
        "| layers | kernel | positions | floor | " + " | ".join(dtypes) + " |",
        "|---|---|---:|---:|" + "---:|" * len(dtypes),
    ]
    theta = 1.0
    for c, alike in groupby(sorted(layers, key=_order(layers)), key=lambda n: layers[n]):
        names = list(alike)
        ours = net.get_submodule(names[0])
        assert isinstance(ours, TuckerConv2d)
        theta = ours.weight.sketch.theta
        dense = ours.dense().train().requires_grad_(True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        device = ours.weight.core.device
        times = []
        for dtype in dtypes:
            steps = {
                "ours": step(ours, c, batch, dtype),
                "dense": step(dense, c, batch, dtype),
            }
            r = over(interleaved(steps, device, budget), "ours", "dense")
            times.append(_shown(r))
        least = floor([c], TRAINING, theta)
        shape = "x".join(map(str, c.kernel))
        row = [", ".join(names), shape, f"{c.outputs // batch}", f"{least:.2f}", *times]
        lines.append(f"| {' | '.join(row)} |")
    whole = floor(layers.values(), TRAINING, theta)
    lines.append(f"| all | | | {whole:.2f} |" + " |" * len(dtypes))
    return lines


def _order(layers: Mapping[str, Convolution]) -> Callable[[str], int]:
    """Layers that are alike stand together, where the first of them does."""
    first: dict[Convolution, int] = {}
    for place, c in enumerate(layers.values()):
        first.setdefault(c, place)
    return lambda name: first[layers[name]]


def _shown(r: Ratio) -> str:
    return f"{r.minimum:.2f} ({r.median:.2f})"


def rest(
    dense: Mapping[str, float], ours: Mapping[str, float], ratio: float, least: float
) -> list[str]:
    """Where what ours takes more goes.

    Args:
        dense: percent of the dense step by part, from profile_steps; ours: of ours.
        ratio: measured, ours over dense.
        least: the floor, by operation count.
    """
    parts = list(dict.fromkeys([*dense, *ours]))
    parts.sort(key=lambda part: (part in (UPDATE, DATA, PYTHON), part))  # the layers first
    lines = ["| % of the dense step | dense | ours | more |", "|---|---:|---:|---:|"]
    for part in parts:
        before, now = dense.get(part, 0.0), ratio * ours.get(part, 0.0)
        lines.append(f"| {part} | {before:.1f} | {now:.1f} | {now - before:+.1f} |")
    whole = 100 * ratio
    lines.append(f"| all | 100.0 | {whole:.1f} | {whole - 100:+.1f} |")
    lines += ["", f"By operation count {100 * (least - 1):.1f}% more are due, in all convolutions."]
    return lines

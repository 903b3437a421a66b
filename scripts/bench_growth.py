"""How cost grows with width, batch, theta, the number of draws and of images: fitted slopes.

    make bench                              # all parts; this one: results/bench/growth.md
    python scripts/bench_growth.py --quick  # in small, nothing written

Everything that grows is one interleaved run over four or five sizes, of ours and of the dense
network. Cost ~ size ** slope, by least squares through the logarithms of the fastest times; the
residual is the root mean square by which a time misses the line. `x 2` is what doubling costs. The
ratios are of costs at the largest size: ours over the dense network, or over ours at the smallest.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from bench import Ratio, Setting, interleaved, operation, options, over, report
from torch import nn

from defensive_tensorization.attacks import Attack
from defensive_tensorization.attacks.in_units import eot_pgd, fgsm
from defensive_tensorization.data import Split, Task
from defensive_tensorization.experiment.classifier import Classifier
from defensive_tensorization.experiment.components import channels_last
from defensive_tensorization.experiment.evaluate import answers
from defensive_tensorization.models import ResNet18
from defensive_tensorization.tucker import conv_factory

Step = Callable[[], object]


@dataclass(frozen=True)
class Fit:
    """cost ~ size ** slope."""

    slope: float
    residual: float  # root mean square, as a fraction of a time

    @property
    def doubling(self) -> float:
        return float(2**self.slope)


def fit(taken: Mapping[float, float]) -> Fit:
    """Through (size, seconds)."""
    x, y = (np.log2(list(each)) for each in (taken.keys(), taken.values()))
    line = np.polyfit(x, y, 1)
    missed = np.sqrt(np.mean((np.polyval(line, x) - y) ** 2))
    return Fit(float(line[0]), float(2**missed - 1))


def network(width: int, theta: float | None) -> nn.Module:
    torch.manual_seed(0)
    conv = nn.Conv2d if theta is None else conv_factory(theta=theta, min_dim=3, init="random")
    made = ResNet18(width=width, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3, conv=conv)
    return channels_last(made)


def training(
    device: torch.device, width: int = 16, batch: int = 64, theta: float | None = None
) -> Step:
    x = torch.rand(batch, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(10, (batch,), device=device)
    setting = Setting(width, "bfloat16", batch, "training step")
    return operation(network(width, theta).to(device), setting, x, y)


def attacked(device: torch.device, images: int, attack: Attack, theta: float | None) -> Step:
    classifier = Classifier(network(16, theta).to(device), "bfloat16")
    x = torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8, device=device)
    split = Split(x, torch.randint(10, (images,), device=device))
    digest, ten = "0" * 16, tuple("0123456789")
    both, flat = (split, split), ((0.5,) * 3, (0.25,) * 3)
    task = Task("", "", ten, *both, (0.0, 1.0), 1 / 255, *flat, False, digest)
    return lambda: answers(classifier, task, split, attack, 0, 64)


def main() -> None:
    given = options(__doc__, budget=15.0)
    device, cut = given.device, slice(0, 2) if given.quick else slice(None)
    wide = (16, 32, 64, 128) if device.type == "cuda" else (8, 16, 32, 64)
    # what grows -> its sizes, and a step of that size; theta None: the dense network
    grown: dict[str, tuple[tuple[float, ...], Callable[[float, float | None], Step]]] = {
        "width": (wide, lambda n, theta: training(device, width=int(n), theta=theta)),
        "batch": ((16, 32, 64, 128, 256), lambda n, t: training(device, batch=int(n), theta=t)),
        "theta": ((0.25, 0.5, 0.7, 0.85, 0.95), lambda n, theta: training(device, theta=n)),
        "draws": (
            (1, 2, 4, 8),
            lambda n, theta: attacked(
                device, 64, eot_pgd(epsilon=8, unit=1 / 255, steps=1, draws=int(n)), theta
            ),
        ),
        "images": (
            (64, 128, 256, 512),
            lambda n, theta: attacked(device, int(n), fgsm(epsilon=8, unit=1 / 255), theta),
        ),
    }
    ratios: list[Ratio] = []
    seconds: dict[str, dict[str, float]] = {}
    lines = ["| cost of | with | sizes | slope | x 2 | residual | fastest (ms) |"]
    lines.append("|---|---|---|---:|---:|---:|---|")
    for what, (every, make) in grown.items():
        sizes = every[cut]
        random = {"ours": 0.8} if what in ("theta", "draws") else {"ours": 0.8, "dense": None}
        steps = {f"{kind} {n:g}": make(n, theta) for kind, theta in random.items() for n in sizes}
        rounds = 2 if given.quick else 5
        budget = 0.0 if given.quick else given.budget
        taken = interleaved(steps, device, budget, warm=1 if given.quick else 2, rounds=rounds)
        least, most = sizes[0], sizes[-1]
        beside = f"dense {most:g}" if "dense" in random else f"ours {least:g}"
        ratios.append(over(taken, f"ours {most:g}", beside, None, f"{what}: "))
        for kind in random:
            fast = {n: min(taken[f"{kind} {n:g}"]) for n in sizes}
            line = fit(fast)
            seconds[f"{kind}, {what}"] = {f"{n:g}": s for n, s in fast.items()}
            lines.append(
                f"| {kind} | {what} | {', '.join(f'{n:g}' for n in sizes)} | {line.slope:.2f} "
                f"| {line.doubling:.2f} | {100 * line.residual:.0f}% "
                f"| {', '.join(f'{1e3 * s:.1f}' for s in fast.values())} |"
            )
    lines += [
        "",
        "width, batch, theta: a training step (width 16, batch 64, theta 0.8, bfloat16, unless "
        "that grows); draws: a step of EOT-PGD on 64 images; images: FGSM and its scoring.",
    ]
    report("growth", given, "How cost grows", ratios, *lines, seconds=seconds)


if __name__ == "__main__":
    main()

"""A training step of ours beside a plain dense ResNet-18, and beside the usual public loop.

    make bench                                # all parts; this one: results/bench/training.md
    python scripts/bench_training.py --quick  # in small, nothing written

Ours and the dense network train in this package's own loop, as a run configures them; the public
loop (public_loop.py) trains the dense network in float32. All have crops and flips, batch 128, SGD
and random images. What is timed is a short epoch, over and over.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from bench import Ratio, interleaved, options, over, peak, report, timed
from public_loop import CROP_AND_FLIP, public_loop
from torch import nn

from defensive_tensorization import config as cfg
from defensive_tensorization.attacks.scoring import score_logits
from defensive_tensorization.data import Split, Task, decode, digits
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.plan import Plan
from defensive_tensorization.models import ResNet18
from defensive_tensorization.results.scores import Answers, difference
from defensive_tensorization.training.loop import train

BATCH = 128
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
PUBLIC = "the public loop"
WAYS = {
    "dense": "defence=none",
    "ours at theta 1": "theta=1",
    "ours at 0.9": "theta=0.9",
    "ours at 0.8": "theta=0.8",
}
STEPS = {  # of an epoch, by width
    "cpu": {16: 12, 64: 2},
    "cuda": {64: 50},
    "quick": {8: 2},
}


def made_up(images: int, device: torch.device) -> Task:
    drawn = torch.Generator().manual_seed(0)
    x = torch.randint(256, (images, 3, 32, 32), generator=drawn, dtype=torch.uint8)
    split = Split(x, torch.randint(10, (images,), generator=drawn))
    return Task(
        name="cifar10",
        title="random images",
        classes=tuple(map(str, range(10))),
        train=split,
        test=split,
        bounds=(0.0, 1.0),
        unit=1 / 255,
        mean=MEAN,
        std=STD,
        flip=True,
        digest="0" * 16,
    ).to(device)


def ours(
    way: str, width: int, dtype: str, task: Task, compiled: str = "null"
) -> Callable[[], object]:
    """One epoch a call, of this package's loop."""
    settings = (f"model.width={width}", f"train.autocast={dtype}", f"train.compile={compiled}")
    p = Plan(cfg.composed([WAYS[way], "train=cifar10_tuned", *settings]), task)
    network, schedule = components.network(p), replace(components.schedule(p), epochs=1)
    optimizer = components.optimizer(p, network)
    return lambda: train(network, task, schedule, optimizer, 0)


def usual(width: int, task: Task, workers: int = 2) -> Callable[[], object]:
    plain = _plain(width).to(task.train.inputs.device)
    return public_loop(plain, task.train, CROP_AND_FLIP, MEAN, STD, batch=BATCH, workers=workers)


def _plain(width: int) -> nn.Module:
    """Normalised by the public loop's transforms."""
    return ResNet18(width=width, classes=10, mean=(0.0,) * 3, std=(1.0,) * 3)


def twice(way: str, width: int, dtype: str, device: str) -> None:
    """Two steps, for their peak of memory."""
    task = made_up(2 * BATCH, torch.device(device))
    (usual(width, task) if way == PUBLIC else ours(way, width, dtype, task))()


def learnt(epochs: int, seeds: int) -> tuple[list[str], bool]:
    """Whether bfloat16 and our loop cost accuracy: the same recipe on digits, and a table."""
    task = digits.load(name="digits", unit=1 / 255)
    x, y = decode(task.test.inputs), task.test.labels
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (task.mean, task.std))
    found: dict[str, list[Answers]] = {PUBLIC: [], "ours, float32": [], "ours, bfloat16": []}
    settings = ("model.width=8", "defence=none", "train=cifar10_tuned", "train.crop=0")
    for seed in range(seeds):
        for dtype in ("float32", "bfloat16"):
            words = [f"train.epochs={epochs}", f"train.autocast={dtype}", f"seed={seed}"]
            p = Plan(cfg.composed([*settings, *words]), task)
            network = components.network(p)
            train(network, task, components.schedule(p), components.optimizer(p, network), seed)
            with torch.no_grad():
                found[f"ours, {dtype}"].append(
                    score_logits(components.classifier(p, network)(x)[None], y)
                )
        torch.manual_seed(seed)
        plain = _plain(8)
        epoch = public_loop(
            *(plain, task.train, [], task.mean, task.std),
            batch=BATCH,
            lr=lambda done: 0.1 * components.schedule(p).factor(done),  # noqa: B023 as ours has it
        )
        for _ in range(epochs):
            epoch()
        with torch.no_grad():
            found[PUBLIC].append(score_logits(plain.eval()((x - mean) / std)[None], y))
    lines = [
        f"Accuracy on scikit-learn's digits, dense, width 8, {epochs} epochs, {seeds} seeds:",
        "",
        "| loop | accuracy (%) | minus the public loop's, 95% interval | |",
        "|---|---:|---:|---|",
    ]
    same = True
    for name, mine in found.items():
        accuracy = 100 * np.mean([each.accuracy for each in mine])
        gap = difference(mine, found[PUBLIC])
        within = gap.low <= 0 <= gap.high
        same &= within
        told = f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f} | {'same' if within else 'differs'}"
        lines.append(f"| {name} | {accuracy:.1f} | {told if name != PUBLIC else ' | '} |")
    return lines, same


def main() -> None:
    given = options(__doc__, budget=60.0, workers=2, compile="")
    device, quick = given.device, given.quick
    ratios: list[Ratio] = []
    seconds: dict[str, dict[str, float]] = {}
    notes: list[str] = []
    for width, steps in STEPS["quick" if quick else device.type].items():
        task = made_up(steps * BATCH, device)
        narrow = {"float32": ["dense", "ours at 0.8"]} if width == 16 else {}
        ways = {"bfloat16": list(WAYS), **narrow}
        runs = {f"{w}, {d}": ours(w, width, d, task) for d, each in ways.items() for w in each}
        runs[PUBLIC] = usual(width, task, given.workers)
        if given.compile:
            fast = f"ours at 0.9, bfloat16, train.compile={given.compile}"
            runs[fast] = ours("ours at 0.9", width, "bfloat16", task, given.compile)
            cold = timed(runs[fast], device)
        taken = interleaved(runs, device, given.budget, warm=1, rounds=2 if quick else 5)
        of = f"width {width}: "
        for dtype, each in ways.items():
            for way in each[1:]:
                ratios.append(over(taken, f"{way}, {dtype}", f"dense, {dtype}", 1.10, of))
        ratios += [over(taken, f"{way}, bfloat16", PUBLIC, 1 / 1.5, of) for way in WAYS]
        if given.compile:
            ratios.append(over(taken, fast, "ours at 0.9, bfloat16", None, of))
            cold -= min(taken[fast])
            notes.append(f"Cold start of train.compile={given.compile}: {cold:.0f} s.")
        seconds[f"width {width}"] = {name: min(all_) / steps for name, all_ in taken.items()}
        notes.append(
            f"Width {width}, ms a step of {BATCH}: "
            + ", ".join(f"{name} {1e3 * s:.1f}" for name, s in seconds[f"width {width}"].items())
            + "."
        )
        held = ("dense", "ours at 0.9", PUBLIC)
        peaks = {way: [peak(twice, way, width, "bfloat16", device.type)] for way in held}
        of = f"peak memory at width {width}: "
        ratios += [over(peaks, "ours at 0.9", other, None, of) for other in ("dense", PUBLIC)]
        told = ", ".join(f"{way} {mib:.0f}" for way, [mib] in peaks.items())
        notes.append(f"Width {width}, peak MiB of two steps, the loader's workers apart: {told}.")
    table, same = learnt(*((1, 2) if quick else (8, 5)))
    title = "A training step: ResNet-18 of random kernels, the dense one, and the usual public loop"
    more = [line for note in notes for line in (note, "")]
    report("training", given, title, ratios, *more, *table, seconds=seconds, same_accuracy=same)


if __name__ == "__main__":
    main()

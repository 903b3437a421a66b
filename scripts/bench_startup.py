"""What passes before anything happens: `--help`, and the first batch with a warm data cache.

    make bench                               # all parts; this one: results/bench/startup.md
    python scripts/bench_startup.py --quick  # once each, nothing written

Each is a process of its own, in turn with others. The first batch is a whole run of one: as many
random images as CIFAR-10 has from the cache, their digest checked, ours at theta = 0.9, a
checkpoint, a row; so more than the batch is in it. Beside it: importing torch alone, and torch with
its optimizer, which loads torch.compile's tracer.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from bench import Ratio, interleaved, options, over, report
from bench_commands import run

from defensive_tensorization.data import Split, cifar10
from defensive_tensorization.data.cache import Content, cached

LIMITS = {"--help": 1.5, "a run of one batch": 5.0}
TORCH = "import torch"
OPTIMIZER = "import torch, and an optimizer"


def cache(folder: Path) -> None:
    """Random images in the place of CIFAR-10's."""

    def split(per_class: int) -> Split:
        n = 10 * per_class
        drawn = torch.Generator().manual_seed(n)
        shape = (n, 3, *cifar10.SIZE)
        x = torch.randint(256, shape, generator=drawn, dtype=torch.uint8)
        return Split(x, torch.arange(n) % 10)

    train, test = (split(count) for count in cifar10.PER_CLASS.values())
    content = Content(train=train, test=test, classes=cifar10.CLASSES)
    source = f"torchvision {cifar10.ARCHIVE_MD5}"
    cached(lambda: content, folder=folder, name="cifar10", source=source)


def commands(folder: Path) -> dict[str, list[str]]:
    module = [sys.executable, "-m", "defensive_tensorization"]
    one_batch = [
        *(*module, "dataset=cifar10", "scale=cpu", "theta=0.9", "train.init=scratch"),
        *("train.epochs=1", "train.images=128", "attack=[]", "eval.runs=1", "eval.images=1"),
        *("model.reference=1", "logger=none", f"dataset.cache={folder}"),
    ]
    linear = "import torch; torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1)"
    return {
        "--help": [*module, "--help"],
        "a run of one batch": one_batch,
        TORCH: [sys.executable, "-c", TORCH],
        OPTIMIZER: [sys.executable, "-c", linear],
    }


def start(words: list[str], runs: Path) -> None:
    with tempfile.TemporaryDirectory(dir=runs) as own:
        more = [f"paths.runs={own}"] if "dataset=cifar10" in words else []
        run([*words, *more])


def main() -> None:
    given = options(__doc__, rounds=3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache(folder)
        steps = {key: partial(start, words, folder) for key, words in commands(folder).items()}
        rounds = 1 if given.quick else given.rounds
        warm = 0 if given.quick else 1
        taken = interleaved(steps, torch.device("cpu"), 0.0, warm=warm, rounds=rounds)
    ratios: list[Ratio] = [
        over(taken, "--help", TORCH),
        over(taken, "a run of one batch", OPTIMIZER),
    ]
    fast = {key: min(all_) for key, all_ in taken.items()}
    lines = ["| from start to end | fastest (s) | limit (s) | |", "|---|---:|---:|---|"]
    for key, value in fast.items():
        limit = LIMITS.get(key)
        told = "|" if limit is None else f"{limit} | {'met' if value <= limit else 'missed'}"
        lines.append(f"| {key} | {value:.2f} | {told} |")
    report("startup", given, "Start-up, beside importing torch", ratios, *lines, seconds=fast)


if __name__ == "__main__":
    main()

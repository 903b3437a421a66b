"""What other busy processes cost a training step: with OpenMP's own waiting, and with ours.

    make bench-busy                       # width 16, batch 128: results/bench/busy.md
    python scripts/bench_busy.py --quick  # in small, nothing written

Every measurement is a process of its own, with a thread for each of two cores, alone or beside one
or two processes that do nothing but count. The ways take turns. "Own" is torch as it comes,
"ours" what the entrypoint sets before torch is loaded (system/cores.py).
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from bench import Ratio, Setting, operation, options, report, timed

from defensive_tensorization.models import ResNet18
from defensive_tensorization.system import cores

ROOT = Path(__file__).parents[1]
WAYS = ("own", "ours")
AIMS = {1: 1.7, 2: 2.0}  # times as slow as alone, beside so many
ALONE = 1.03  # of ours to own
COUNT = "while True: pass"


@dataclass(frozen=True)
class Size:
    width: int
    batch: int
    steps: int


def worker(size: Size) -> None:
    """Print the median step in seconds."""
    torch.manual_seed(0)
    net = ResNet18(width=size.width, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)
    x, y = torch.rand(size.batch, 3, 32, 32), torch.randint(10, (size.batch,))
    step = operation(net, Setting(size.width, "float32", size.batch, "training step"), x, y)
    step()
    device = torch.device("cpu")
    print(statistics.median(timed(step, device) for _ in range(size.steps)))


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes count in the block."""
    others = [subprocess.Popen([sys.executable, "-c", COUNT]) for _ in range(count)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def seconds(way: str, beside: int, size: Size) -> float:
    clean = {k: v for k, v in os.environ.items() if k not in cores.WAITING}
    environment = clean | {"OMP_NUM_THREADS": "2"}
    if way == "ours":
        environment["GOMP_SPINCOUNT"] = str(cores.SPIN)
    numbers = map(str, (size.width, size.batch, size.steps))
    words = [sys.executable, __file__, "--worker", *numbers]
    with busy(beside):
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, check=True, cwd=ROOT
        )
    return float(done.stdout)


def ratios(taken: dict[tuple[str, int], list[float]]) -> list[Ratio]:
    def of(over: tuple[str, int], under: tuple[str, int], name: str, aim: float | None) -> Ratio:
        a, b = taken[over], taken[under]
        return Ratio(name, min(a) / min(b), statistics.median(a) / statistics.median(b), aim)

    return [
        of(("ours", 0), ("own", 0), "alone: ours / own", ALONE),
        *(
            of((way, n), (way, 0), f"{way}: beside {n} / alone", AIMS[n] if way == "ours" else None)
            for n in AIMS
            for way in WAYS
        ),
    ]


def main() -> None:
    if "--worker" in sys.argv:
        worker(Size(*map(int, sys.argv[2:])))
        return
    given: argparse.Namespace = options(str(__doc__), rounds=3)
    size = Size(4, 32, 3) if given.quick else Size(16, 128, 15)
    taken: dict[tuple[str, int], list[float]] = {(w, n): [] for n in (0, *AIMS) for w in WAYS}
    for _ in range(1 if given.quick else given.rounds):
        for way, beside in taken:
            taken[way, beside].append(seconds(way, beside, size))
    table = [f"{w}, beside {n}: {min(t):.3f} s" for (w, n), t in taken.items()]
    report("busy", given, "A training step beside busy processes", ratios(taken), "; ".join(table))


if __name__ == "__main__":
    main()

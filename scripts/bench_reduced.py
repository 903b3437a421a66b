"""The ratios that a change must not make worse, in under two minutes: for every change.

    make bench-check                        # these anew, against the last of this kind of processor
    make bench-check ARGS=--keep            # and append them to results/bench/history.csv
    python scripts/bench_reduced.py --quick # once each, nothing compared

ResNet-18 of width 16, in the precision that autocast=auto takes here. A ratio moves with the kind
of processor, so only lines of the same precision are compared. A ratio fails that is 25% worse,
in its minimum and its median; a machine that is busy with something else can do that too.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import torch
from bench import RESULTS, Ratio, Setting, interleaved, operation, options, over, table, where
from bench_check import WORSE, refuse
from bench_eot import gradient, images, network
from torch import nn

from defensive_tensorization.attacks.batching import most_together
from defensive_tensorization.models import ResNet18
from defensive_tensorization.system import processor, provenance
from defensive_tensorization.tucker import conv_factory

HISTORY = RESULTS / "history.csv"
FIELDS = ("date", "commit", "processor", "precision", "ratio", "minimum", "median")
WIDTH = 16


def dense() -> nn.Module:
    torch.manual_seed(0)
    return ResNet18(width=WIDTH, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)


def whole() -> nn.Module:
    """Ours at theta = 1, whose kernels are kept under attack."""
    torch.manual_seed(0)
    conv = conv_factory(theta=1.0, min_dim=3, init="random")
    return ResNet18(width=WIDTH, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3, conv=conv)


def measured(dtype: str, budget: float, rounds: Mapping[str, int]) -> list[Ratio]:
    """Each ratio from `budget` seconds of its two sides in turn."""
    device = torch.device("cpu")

    def pair(kind: str, batch: int, nets: dict[str, nn.Module]) -> Ratio:
        x, y = images(batch, device), torch.randint(10, (batch,))
        setting = Setting(WIDTH, dtype, batch, kind)
        steps = {name: operation(net, setting, x, y) for name, net in nets.items()}
        return over(interleaved(steps, device, budget, **rounds), *nets, of=f"{kind}, {batch}: ")

    running = network(WIDTH, "running", device)
    recalibrated = network(WIDTH, "recalibrated", device).eval()
    ratios = [
        pair(
            "training step", 128, {"theta 0.9": network(WIDTH, "running", device), "dense": dense()}
        ),
        pair("attack step", 128, {"theta 0.9": running, "dense": dense()}),
        pair("attack step", 1, {"theta 1": whole(), "dense": dense()}),
    ]
    of = {
        "recalibrated": gradient(recalibrated, images(128, device), 1, 1, dtype),
        "running": gradient(running, images(128, device), 1, 1, dtype),
    }
    ratios.append(over(interleaved(of, device, budget, **rounds), *of, of="attack step, 128: "))
    x = images(16, device)
    ways = {"together": most_together(recalibrated, 16, device), "one by one": 1}
    of = {name: gradient(recalibrated, x, 10, n, dtype) for name, n in ways.items()}
    ratios.append(over(interleaved(of, device, budget, **rounds), *of, of="ten draws, 16: "))
    return ratios


def last(precision: str, path: Path = HISTORY) -> dict[str, tuple[float, float]]:
    """The latest minimum and median of each ratio in this precision."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {
            line["ratio"]: (float(line["minimum"]), float(line["median"]))
            for line in csv.DictReader(file)
            if line["precision"] == precision
        }


def worse(ratios: Sequence[Ratio], before: Mapping[str, tuple[float, float]]) -> list[str]:
    """A line of each ratio that is worse than before in both of its forms."""
    told = []
    for r in ratios:
        was = before.get(r.name)
        if was and min(r.minimum / was[0], r.median / was[1]) > WORSE:
            told.append(
                f"{r.name}: {was[0]:.2f} ({was[1]:.2f}) to {r.minimum:.2f} ({r.median:.2f})"
            )
    return told


def keep(ratios: Sequence[Ratio], precision: str, path: Path = HISTORY) -> None:
    """Append the ratios to the history."""
    about = (date.today().isoformat(), provenance.commit_name())
    of = (provenance.hardware(torch.device("cpu")), precision)
    new = not path.is_file()
    with path.open("a", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        if new:
            out.writerow(FIELDS)
        out.writerows([*about, *of, r.name, f"{r.minimum:.3f}", f"{r.median:.3f}"] for r in ratios)


def main() -> None:
    given = options(str(__doc__), budget=8.0, keep=False)
    precision = "bfloat16" if processor.bfloat16("cpu") else "float32"
    rounds = {"warm": 1, "rounds": 1} if given.quick else {}
    ratios = measured(precision, 0.0 if given.quick else given.budget, rounds)
    print("\n".join([f"In {precision}; {where(given.device)}", "", *table(ratios), ""]))
    if given.quick:
        return
    before = last(precision)
    if given.keep:
        keep(ratios, precision)
    elif not before:
        refuse(f"results/bench/{HISTORY.name} has no line in {precision}: keep one by ARGS=--keep")
    if told := worse(ratios, before):
        print("\n".join([f"over {WORSE - 1:.0%} worse than the last line of the history:", *told]))
        sys.exit(1)
    print(f"no ratio is over {WORSE - 1:.0%} worse than the last line of the history")


if __name__ == "__main__":
    main()

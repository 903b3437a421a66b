"""What Table 2 would cost at ImageNet size, on a ResNet-50: counts times constants.

    make cost                                  # results/bench/cost.md: some minutes, measuring
    python scripts/cost.py --counts            # without measuring: a minute
    python scripts/cost.py --epochs 350 --peak 312 --utilisation 0.4

Counted (cost_counts.py): floating-point operations of a forward, a training step and an attack
step. Measured: seconds of the same three on this machine. Assumed, and said so where it appears:
the schedule, a GPU's published peak, the share of it that is reached.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from bench import Setting, Timing, operation, write
from cost_counts import SIDE, TEST, TRAIN, Cost, Counts, flops, networks, pgd_steps, saved
from torch import nn

from defensive_tensorization import config as cfg
from defensive_tensorization.system import provenance
from defensive_tensorization.system.table import markdown

OPERATIONS = ("forward", "training step", "attack step")


def table2() -> dict[str, cfg.Config]:
    """The configuration of each method, by its column's label."""
    named = cfg.composed(["experiment=table2", "scale=paper"]).experiment.columns
    return {
        label: cfg.composed(["experiment=table2", "scale=paper", f"method={method}"])
        for method, label in named.items()
    }


def measured(nets: dict[str, nn.Module], batch: int, rounds: int) -> list[Timing]:
    """CPU seconds of each operation on one thread here, the networks in turn."""
    x = torch.rand(batch, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    y = torch.randint(1000, (batch,))
    found = []
    for what in OPERATIONS:
        setting = Setting(64, "float32", batch, what)
        steps: dict[str, Callable[[], None]] = {
            n: operation(net, setting, x, y) for n, net in nets.items()
        }
        taken: dict[str, list[float]] = {n: [] for n in nets}
        for n in [*nets] * (rounds + 1):
            started = time.process_time()
            steps[n]()
            taken[n].append(time.process_time() - started)
        found += [
            Timing(setting, n, min(t[1:]), sorted(t[1:])[rounds // 2], rounds)
            for n, t in taken.items()
        ]
    return found


def hours(operations: float, rate: float) -> str:
    value = operations / rate / 3600
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def table(costs: dict[str, Cost], rate: float) -> str:
    lines = [["method", "base", "training", "its attack", "evaluation", "EFLOP", "GPU-hours"]]
    shared = max(c.base for c in costs.values())
    rows = {**costs, "Table 2": Cost(shared, *_sums(costs))}
    for label, c in rows.items():
        parts = [c.base, c.train, c.perturb, c.evaluate]
        shares = [f"{100 * p / c.total:.0f}%" for p in parts]
        lines.append([label, *shares, f"{c.total / 1e18:,.0f}", hours(c.total, rate)])
    return markdown(lines, tight=True)


def _sums(costs: dict[str, Cost]) -> tuple[float, float, float]:
    """Training, its attack, evaluation; squeezing joins the dense network, which trains once."""
    trained = {label: c for label, c in costs.items() if not label.startswith("Squeezing")}
    return (
        sum(c.train for c in trained.values()),
        sum(c.perturb for c in trained.values()),
        sum(c.evaluate for c in costs.values()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--counts", action="store_true", help="without measuring, nothing written")
    parser.add_argument("--epochs", type=int, default=90, help="of every training (assumed)")
    parser.add_argument("--batch", type=int, default=256, help="of training, one GPU's (assumed)")
    parser.add_argument("--eval-batch", type=int, default=500)
    parser.add_argument("--reference", type=int, default=128, help="images before each batch")
    parser.add_argument("--peak", type=float, default=989.4, help="TFLOP/s, dense bfloat16")
    parser.add_argument("--utilisation", type=float, default=0.35, help="of the peak (assumed)")
    parser.add_argument("--memory", type=float, default=80, help="GB of one GPU")
    parser.add_argument("--gpu", default="NVIDIA H100 SXM", help="whose published peak it is")
    parser.add_argument("--measure-batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()

    torch.set_num_threads(1)
    nets = networks()
    counts = Counts(nets, options)
    costs = {label: counts.of(config) for label, config in table2().items()}
    rate = options.peak * 1e12 * options.utilisation
    parameters = {n: sum(p.numel() for p in net.parameters()) for n, net in nets.items()}
    kept = {n: (saved(net, 4) - saved(net, 2)) // 2 for n, net in nets.items()}  # per image
    data = TRAIN * 3 * SIDE**2
    whole = sum(_sums(costs)) + max(c.base for c in costs.values())
    heads = ["network", "training step", "attack step in training", "in evaluation", "forward"]

    def counted(n: str) -> tuple[float, ...]:
        steps = (counts.step[n, where] for where in ("training", "evaluation"))
        return (counts.train[n], *steps, counts.forward[n])

    grid = [heads, *([n, *(f"{x / 1e9:.1f}" for x in counted(n))] for n in nets)]
    lines = [
        "# What Table 2 would cost at ImageNet size, on a ResNet-50",
        "",
        f"**Counted**, at {SIDE}x{SIDE}, GFLOP an image (a multiply-add is two):",
        "",
        markdown(grid, tight=True),
        "",
        f"Batches of {options.batch} in training and {options.eval_batch} in evaluation; in "
        f"attacks and evaluation ours passes {options.reference} reference images before each, "
        "without a backward (BatchNorm recalibrated). PGD training takes "
        f"{pgd_steps(8, 16, 'floor'):.1f} steps a batch, on average.",
        "",
        f"**Times an assumed schedule** of {options.epochs} epochs of {TRAIN:,} images for every "
        f"training, ours on top of its base, and the paper's evaluation of {TEST:,} images "
        "(FGSM and PGD at 2, 8 and 16, ten runs):",
        "",
        table(costs, rate),
        "",
        f"GPU-hours are of one {options.gpu} at its published peak of {options.peak:g} TFLOP/s "
        f"(dense bfloat16) and an **assumed** utilisation of {100 * options.utilisation:.0f}%. No "
        "GPU was measured. The base is shared: Table 2's line counts it once, and so the dense "
        "network that squeezing joins.",
        "",
        "**Memory**, counted:",
        "",
        "- all training images as the package holds them, uint8 on the device: "
        f"{data / 1e9:.0f} GB, {data / 1e9 / options.memory:.1f} times one GPU's "
        f"{options.memory:g} GB",
        *(
            f"- {n}: {parameters[n] / 1e6:.1f} M parameters, {kept[n] / 1e6:.0f} MB an image kept "
            f"for the backward in float32: {options.memory * 1e9 / kept[n]:.0f} images fill the GPU"
            for n in nets
        ),
        f"- a checkpoint (weights and momentum, float32): {8 * parameters['dense'] / 1e6:.0f} MB "
        f"dense, {8 * parameters['ours'] / 1e6:.0f} MB ours",
    ]
    timings: list[Timing] = []
    if not options.counts:
        timings = measured(nets, options.measure_batch, options.rounds)
        lines += _here(nets, timings, options, whole)
    made_on = (
        f"torch {torch.__version__}; commit {provenance.commit_name()}; `make cost`; "
        f"python scripts/cost.py with {vars(options)}."
    )
    text = "\n".join([*lines, "", made_on, ""])
    print(text)
    if not options.counts:
        record: dict[str, Any] = {label: vars(c) for label, c in costs.items()}
        write("cost", torch.device("cpu"), text, timings, costs=record, options=vars(options))


def _here(
    nets: dict[str, nn.Module], timings: list[Timing], options: argparse.Namespace, whole: float
) -> list[str]:
    hardware = provenance.hardware("cpu")
    lines = [["operation", "dense, images a second", "ours", "ours / dense, time", "counted"]]
    lines[0].append("dense, GFLOP/s")
    rates = []
    by = {(t.setting.operation, t.network): t.minimum for t in timings}
    for what in OPERATIONS:
        b = options.measure_batch
        dense, ours = (flops(nets[n], what, b) for n in ("dense", "ours"))
        seconds = by[what, "dense"], by[what, "ours"]
        rates.append(dense / seconds[0])
        ratios = (b / seconds[0], b / seconds[1], seconds[1] / seconds[0], ours / dense)
        numbers = [*(f"{each:.2f}" for each in ratios), f"{dense / seconds[0] / 1e9:.0f}"]
        lines.append([what, *numbers])
    years = whole / min(rates) / 3600 / 24 / 365
    return [
        "",
        f"**Measured** on one thread of {hardware}, CPU time, float32, batches of "
        f"{options.measure_batch}, the best of {options.rounds}:",
        "",
        markdown(lines, tight=True),
        "",
        f"At the slowest of these rates Table 2 takes {years:,.0f} years on it.",
    ]


if __name__ == "__main__":
    main()

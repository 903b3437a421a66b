"""What Table 2 would cost at ImageNet size, on a ResNet-50: counts times constants.

    make cost                                  # results/bench/cost.md: some minutes, measuring
    python scripts/cost.py --counts            # without measuring: a minute
    python scripts/cost.py --epochs 350 --peak 312 --utilisation 0.4

Counted: floating-point operations of a forward, a training step and an attack step (torch's own
counter, no computing), the steps of each attack (by running it on a network that counts), the mean
steps of PGD training (by drawing them). Measured: seconds of the same three on this machine.
Assumed, and said so where it appears: the schedule, a GPU's published peak, the share of it that is
reached. Elementwise work (BatchNorm, the penalty of quantization, squeezing, draws) is not counted.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from bench import Setting, Timing, operation, write
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet50

import defensive_tensorization as dt
from defensive_tensorization import config as cfg
from defensive_tensorization.attacks import Attack
from defensive_tensorization.attacks.attack import step_count
from defensive_tensorization.attacks.training import truncated_normal
from defensive_tensorization.experiment.components import channels_last
from defensive_tensorization.experiment.plan import attacks
from defensive_tensorization.system import provenance
from defensive_tensorization.system.table import markdown

TRAIN, TEST, SIDE = 1_281_167, 50_000, 224  # ILSVRC-2012, at ResNet-50's usual size
OPERATIONS = ("forward", "training step", "attack step")
THETA = 0.8


@dataclass(frozen=True)
class Cost:
    """Of one method, in operations: its base's training, its own, the attack in it, evaluation."""

    base: float
    train: float
    perturb: float
    evaluate: float

    @property
    def total(self) -> float:
        return self.base + self.train + self.perturb + self.evaluate


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "dense": channels_last(resnet50()),
        "ours": channels_last(dt.tensorize(resnet50(), theta=THETA, min_dim=3, init="random")),
    }


def flops(net: nn.Module, what: str, batch: int) -> float:
    """Of one operation on a batch, a multiply-add as two."""
    with FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False) as counter:
        x, y = torch.rand(batch, 3, SIDE, SIDE), torch.zeros(batch).long()
        net.train(what == "training step").requires_grad_(what == "training step")
        with torch.set_grad_enabled(what != "forward"):
            loss = F.cross_entropy(net(x.requires_grad_(what == "attack step")), y)
        if what != "forward":
            loss.backward()
    return float(counter.get_total_flops())


def saved(net: nn.Module, batch: int) -> int:
    """Bytes that a training step keeps for its backward, weights apart."""
    known = {p.untyped_storage()._cdata for p in net.parameters()}
    found: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage._cdata not in known:
            found[storage._cdata] = storage.nbytes()
        kept.append(t)
        return t

    kept: list[Tensor] = []  # or a storage's address is used again
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        net.train().requires_grad_(True)(torch.rand(batch, 3, SIDE, SIDE))
    return sum(found.values())


class Counting(nn.Module):
    """A network of one weight that counts how it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(10, 3))
        self.asked = {"forward": 0, "attack step": 0}

    def forward(self, x: Tensor) -> Tensor:
        self.asked["attack step" if x.requires_grad else "forward"] += 1
        return F.linear(x.mean((2, 3)), self.weight)


def asked(attack: Attack) -> dict[str, int]:
    """Forwards and attack steps of one attack on one batch."""
    net = Counting().eval().requires_grad_(False)
    attack(net, torch.rand(2, 3, 4, 4), torch.zeros(2).long(), (0.0, 1.0))
    return net.asked


@cache
def pgd_steps(sigma: float, largest: float, rule: str, draws: int = 2_000) -> float:
    """Mean steps of PGD training: half of one more than the most, over its random epsilon."""
    made = torch.Generator().manual_seed(0)
    most = [step_count(truncated_normal(sigma, largest, made), None, rule) for _ in range(draws)]
    return sum((m + 1) / 2 for m in most) / draws


class Counts:
    """Operations per image of each kind of step, and what follows for a method of Table 2."""

    def __init__(self, nets: dict[str, nn.Module], options: argparse.Namespace) -> None:
        self.options = options
        size = options.batch, options.eval_batch
        self.train = {n: flops(net, "training step", size[0]) / size[0] for n, net in nets.items()}
        before = {n: 0.0 for n in nets}
        before["ours"] = flops(nets["ours"], "forward", options.reference)  # at each of its draws
        self.step = {
            (n, where): (flops(net, "attack step", b) + before[n]) / b
            for n, net in nets.items()
            for where, b in zip(("training", "evaluation"), size, strict=True)
        }
        self.forward = {
            n: (flops(net, "forward", size[1]) + before[n]) / size[1] for n, net in nets.items()
        }

    def of(self, config: cfg.Config) -> Cost:
        perturb = config.defence.perturb
        kind = "ours" if cfg.has_random_kernels(config.defence) else "dense"
        images = TRAIN * self.options.epochs
        steps = 0.0
        if perturb is not None:
            random = perturb.sigma is not None
            steps = (
                pgd_steps(perturb.sigma or 8, perturb.largest or 16, perturb.steps_round or "floor")
                if random
                else 1.0
            )
        calls = {what: 0 for what in ("forward", "attack step")}
        aimed = attacks(config)
        for attack in aimed:
            for what, count in asked(attack).items():
                calls[what] += count
        calls["forward"] += len(aimed) + 1  # scoring, and the clean row
        rows = TEST * config.eval.runs
        return Cost(
            base=images * self.train["ours"] if cfg.base_of(config) else 0.0,
            train=images * self.train[kind],
            perturb=images * steps * self.step[kind, "training"],
            evaluate=rows
            * (
                calls["forward"] * self.forward[kind]
                + calls["attack step"] * self.step[kind, "evaluation"]
            ),
        )


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
    commit, dirty = provenance.commit()
    made_on = (
        f"torch {torch.__version__}; commit {commit}{'+' if dirty else ''}; `make cost`; "
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

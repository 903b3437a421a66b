"""What a binary layer costs: steps of binary ResNet-18, as ratios to the real one.

    make bench-xnor                        # results/bench/xnor.md, about 10 minutes on two cores
    python scripts/bench_xnor.py --quick   # one cell, to see that it runs

One process, the networks in turn (interleaved), minimum and median of many.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defensive_tensorization import provenance
from defensive_tensorization.models import REAL, Precision, ResNet18
from defensive_tensorization.tucker import conv_factory
from defensive_tensorization.xnor import binary_layer

RESULTS = Path(__file__).parents[1] / "results" / "bench"
BINARY = Precision(binary_layer, frozenset({"inner", "shortcut"}), "norm_sign_conv")
NETWORKS: dict[str, dict[str, Any]] = {
    "real": {"precision": REAL},
    "binary": {"precision": BINARY},
    "real, theta 0.99": {"precision": REAL, "theta": 0.99},
    "binary, theta 0.99": {"precision": BINARY, "theta": 0.99},
}


@dataclass(frozen=True)
class Setting:
    width: int
    dtype: str
    batch: int
    operation: str  # training step, attack step, forward


@dataclass(frozen=True)
class Timing:
    setting: Setting
    network: str
    minimum: float  # seconds
    median: float
    runs: int


def network(
    width: int, device: torch.device, precision: Precision, theta: float | None = None
) -> nn.Module:
    torch.manual_seed(0)
    conv = conv_factory(theta=theta, min_dim=3, init="random") if theta else nn.Conv2d
    made = ResNet18(
        width=width, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3, conv=conv, precision=precision
    )
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return made.to(device)


def operation(net: nn.Module, setting: Setting, x: Tensor, y: Tensor) -> Callable[[], None]:
    mixed = torch.autocast(x.device.type, torch.bfloat16, enabled=setting.dtype == "bfloat16")
    training = setting.operation == "training step"
    net.train(training).requires_grad_(training)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9) if training else None

    def step() -> None:
        leaf = x.detach().requires_grad_(setting.operation == "attack step")
        with mixed, torch.set_grad_enabled(setting.operation != "forward"):
            loss = F.cross_entropy(net(leaf), y)
        if optimizer:
            optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()
        if optimizer:
            optimizer.step()

    return step


def measure(setting: Setting, device: torch.device, budget: float) -> list[Timing]:
    """Interleaved runs of all networks, at least 5 rounds, about `budget` seconds."""
    x = torch.rand(setting.batch, 3, 32, 32, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.randint(10, (setting.batch,), device=device)
    steps = {
        kind: operation(network(setting.width, device, **options), setting, x, y)
        for kind, options in NETWORKS.items()
    }
    taken: dict[str, list[float]] = {kind: [] for kind in steps}
    for step in steps.values():
        step()
        step()
    started = time.perf_counter()
    while len(taken["real"]) < 5 or time.perf_counter() - started < budget:
        for kind, step in steps.items():
            _wait(device)
            at = time.perf_counter()
            step()
            _wait(device)
            taken[kind].append(time.perf_counter() - at)
    return [
        Timing(setting, kind, min(all_), statistics.median(all_), len(all_))
        for kind, all_ in taken.items()
    ]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratio(over: Timing, under: Timing) -> str:
    return f"{over.minimum / under.minimum:.2f} ({over.median / under.median:.2f})"


def markdown(timings: list[Timing], circumstances: str) -> str:
    lines = [
        "# What a binary network costs: ResNet-18, ratios of times, minimum (median)",
        "",
        "| width | dtype | batch | operation | real (ms) | binary / real "
        "| the same, both at theta = 0.99 |",
        "|---:|---|---:|---|---:|---:|---:|",
    ]
    cells: dict[Setting, dict[str, Timing]] = {}
    for t in timings:
        cells.setdefault(t.setting, {})[t.network] = t
    for s, by in cells.items():
        lines.append(
            f"| {s.width} | {s.dtype} | {s.batch} | {s.operation} "
            f"| {1e3 * by['real'].minimum:.1f} | {ratio(by['binary'], by['real'])} "
            f"| {ratio(by['binary, theta 0.99'], by['real, theta 0.99'])} |"
        )
    return "\n".join([*lines, "", circumstances, ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one cell, nothing written")
    parser.add_argument(
        "--budget", type=float, default=20.0, help="seconds a cell, at least 5 rounds"
    )
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = [
        Setting(width, dtype, 128, what)
        for width in (64, 16)
        for dtype in ("float32", "bfloat16")
        for what in ("training step", "attack step", "forward")
    ]
    if options.quick:
        settings = [Setting(16, "bfloat16", 128, "training step")]
    timings: list[Timing] = []
    for setting in settings:
        made = measure(setting, device, options.budget)
        print(f"{setting}  binary / real {ratio(made[1], made[0])}", flush=True)
        timings += made
    commit, dirty = provenance.commit()
    circumstances = (
        f"{provenance.hardware(device)}, {torch.get_num_threads()} threads; "
        f"torch {torch.__version__}; commit {commit}{'+' if dirty else ''}; "
        f"interleaved in one process, at least 5 rounds and "
        f"{options.budget:g} s a cell; `make bench-xnor`."
    )
    text = markdown(timings, circumstances)
    print(text)
    if not options.quick:
        RESULTS.mkdir(parents=True, exist_ok=True)
        name = "xnor" if device.type == "cpu" else "xnor_gpu"
        (RESULTS / f"{name}.md").write_text(text)
        record = {"circumstances": circumstances, "timings": [asdict(t) for t in timings]}
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

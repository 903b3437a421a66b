"""What a binary layer costs: steps of binary ResNet-18, as ratios to the real one.

    make bench-xnor                        # results/bench/xnor.md, about 10 minutes on two cores
    python scripts/bench_xnor.py --quick   # one cell, to see that it runs

One process, the networks in turn (interleaved), minimum and median of many.
"""

import argparse
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from bench import Setting, Timing, circumstances, measure, ratio, write
from torch import nn

from defensive_tensorization.experiment.components import channels_last
from defensive_tensorization.models import REAL, Precision, ResNet18
from defensive_tensorization.tucker import conv_factory
from defensive_tensorization.xnor import binary_layer

BINARY = Precision(binary_layer, frozenset({"inner", "shortcut"}), "norm_sign_conv")
WITHOUT_K = replace(BINARY, binary=partial(binary_layer, K=False))
AIM = 1.3  # of a binary training step, beside the real one
NETWORKS: dict[str, dict[str, Any]] = {
    "real": {"precision": REAL},
    "binary": {"precision": BINARY},
    "binary without K": {"precision": WITHOUT_K},
    "real, theta 0.99": {"precision": REAL, "theta": 0.99},
    "binary, theta 0.99": {"precision": BINARY, "theta": 0.99},
}


def network(
    width: int, device: torch.device, precision: Precision, theta: float | None = None
) -> nn.Module:
    torch.manual_seed(0)
    conv = conv_factory(theta=theta, min_dim=3, init="random") if theta else nn.Conv2d
    made = ResNet18(
        width=width, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3, conv=conv, precision=precision
    )
    return channels_last(made).to(device)


def markdown(timings: list[Timing], made_on: str) -> str:
    lines = [
        "# What a binary network costs: ResNet-18, ratios of times, minimum (median)",
        "",
        "| width | dtype | batch | operation | real (ms) | binary / real | without K "
        "| with K, both at theta = 0.99 |",
        "|---:|---|---:|---|---:|---:|---:|---:|",
    ]
    cells: dict[Setting, dict[str, Timing]] = {}
    for t in timings:
        cells.setdefault(t.setting, {})[t.network] = t
    for s, by in cells.items():
        lines.append(
            f"| {s.width} | {s.dtype} | {s.batch} | {s.operation} "
            f"| {1e3 * by['real'].minimum:.1f} | {ratio(by['binary'], by['real'])} "
            f"| {ratio(by['binary without K'], by['real'])} "
            f"| {ratio(by['binary, theta 0.99'], by['real, theta 0.99'])} |"
        )
    trained = {s: by["binary"].minimum / by["real"].minimum for s, by in cells.items()}
    missed = [
        f"width {s.width} in {s.dtype}"
        for s, found in trained.items()
        if s.operation == "training step" and found > AIM
    ]
    said = f"Aim: a binary training step takes at most {AIM} times the real one's. Missed: "
    return "\n".join([*lines, "", f"{said}{', '.join(missed) or 'nowhere'}.", "", made_on, ""])


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
        nets = {kind: network(setting.width, device, **o) for kind, o in NETWORKS.items()}
        made = measure(nets, setting, device, options.budget)
        print(f"{setting}  binary / real {ratio(made[1], made[0])}", flush=True)
        timings += made
    made_on = circumstances(device, options.budget, "bench-xnor")
    text = markdown(timings, made_on)
    print(text)
    if not options.quick:
        write("xnor", device, text, timings, circumstances=made_on)


if __name__ == "__main__":
    main()

"""What a randomized kernel costs, beside the dense network and beside tensorly-torch.

    make bench-layers                      # results/bench/layers.md, about 14 minutes on two cores
    python scripts/bench_layers.py --quick # two cells, to see that it runs

One process, the three networks in turn (interleaved), minimum and median of many; what is reported
are ratios to the dense network. The networks differ in their convolutions alone (BatchNorm in its
ordinary form), and tensorly-torch's drops the same modes, in training and in evaluation. Beside
each ratio of ours stands its floor, by operation count (layer_counts.py).
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from bench import (
    Setting,
    Timing,
    circumstances,
    measure,
    operation,
    peak,
    ratio,
    write,
)
from layer_counts import ATTACK, FORWARD, TRAINING, convolutions, floor
from torch import Tensor, nn

from defensive_tensorization.experiment.components import channels_last
from defensive_tensorization.models import ResNet18
from defensive_tensorization.tucker import TuckerConv2d, conv_factory

KINDS = ("dense", "ours", "tensorly-torch")
ABOVE = 1.05  # of its floor, at most: a training step at width 64, batch 128
MIN_DIM = 3  # modes of up to this size are not sketched, the default of both libraries' recipes


@dataclass(frozen=True, kw_only=True)
class Randomized(Setting):
    theta: float


def tltorch_factory(theta: float) -> Callable[..., nn.Module]:
    from tltorch import FactorizedConv
    from tltorch.tensor_hooks import tensor_dropout

    def make(*args: Any, **kwargs: Any) -> nn.Module:
        conv = nn.Conv2d(*args, **kwargs)
        layer = FactorizedConv.from_conv(
            conv,
            rank=tuple(conv.weight.shape),
            factorization="tucker",
            implementation="reconstructed",
            decompose_weights=False,
        )
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.02)
        if theta < 1:
            tensor_dropout(layer.weight, p=1 - theta, min_dim=MIN_DIM, drop_test=True)
        return layer

    return make


def network(kind: str, width: int, theta: float, device: torch.device) -> nn.Module:
    factories: dict[str, Callable[[], Callable[..., nn.Module]]] = {
        "dense": lambda: nn.Conv2d,
        "ours": lambda: conv_factory(theta=theta, min_dim=MIN_DIM, init="random"),
        "tensorly-torch": lambda: tltorch_factory(theta),
    }
    torch.manual_seed(0)
    made = ResNet18(
        width=width, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3, conv=factories[kind]()
    )
    return channels_last(made).to(device)


def twice(kind: str, setting: Randomized) -> None:
    """Two operations, for their peak of memory."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x, y = torch.rand(setting.batch, 3, 32, 32, device=device), torch.zeros(setting.batch).long()
    step = operation(network(kind, setting.width, setting.theta, device), setting, x, y.to(device))
    step()
    step()


def paths(width: int) -> list[str]:
    """A table of the path that each layer of ours takes, theta 0.8, by batch and operation."""
    net = network("ours", width, 0.8, torch.device("cpu"))
    layers = {name: each for name, each in net.named_modules() if isinstance(each, TuckerConv2d)}
    taken: dict[str, list[str]] = {name: [] for name in layers}

    def note(name: str) -> Callable[..., None]:
        def before(layer: TuckerConv2d, inputs: tuple[Tensor]) -> None:
            split = layer._cheaper_factorized(inputs[0])
            taken[name].append("factorized" if split else "reconstruct")

        return before

    for name, layer in layers.items():
        layer.register_forward_pre_hook(note(name))
    cases = [(batch, what) for batch in (1, 128) for what in ("forward", "attack", "training")]
    for batch, what in cases:
        net.train(what == "training").requires_grad_(what == "training")
        with torch.set_grad_enabled(what != "forward"):
            net(torch.rand(batch, 3, 32, 32, requires_grad=what == "attack"))
    head = [f"{what} {batch}" for batch, what in cases]
    return [
        f"The path of each layer at width {width}, by operation and batch (fewer multiply-adds):",
        "",
        "| layer | kernel | " + " | ".join(head) + " |",
        "|---|---|" + "---|" * len(head),
        *(
            f"| {name} | {'x'.join(map(str, layers[name].weight.shape))} | {' | '.join(path)} |"
            for name, path in taken.items()
        ),
    ]


def floors(settings: list[Randomized]) -> dict[Randomized, float]:
    """Of ours in each setting: multiply-adds of its convolutions over those of the dense ones."""
    cpu, found = torch.device("cpu"), {}
    nets = {width: network("ours", width, 0.8, cpu) for width in {s.width for s in settings}}
    for s in settings:
        layers = convolutions(nets[s.width], s.batch)
        found[s] = floor(layers.values(), s.operation, s.theta)
    return found


def over_the_floor(
    cells: dict[Randomized, dict[str, Timing]], least: dict[Randomized, float]
) -> list[str]:
    """What large training steps take beside their floor."""
    return [
        f"A training step at width {s.width}, batch {s.batch}, {s.dtype}, theta {s.theta:g} takes "
        f"{by['ours'].minimum / by['dense'].minimum / least[s]:.2f} of its floor (aim: at most "
        f"{ABOVE:.2f})."
        for s, by in cells.items()
        if (s.operation, s.width, s.batch) == (TRAINING, 64, 128)
    ]


def markdown(
    timings: list[Timing], least: dict[Randomized, float], memory: dict[str, dict[str, float]]
) -> list[str]:
    lines = [
        "# What a randomized kernel costs: ResNet-18, ratios to the dense network",
        "",
        "| width | dtype | batch | theta | operation | dense (ms) | floor | ours, min (median) "
        "| tensorly-torch, min (median) |",
        "|---:|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    cells: dict[Randomized, dict[str, Timing]] = {}
    for t in timings:
        assert isinstance(t.setting, Randomized)
        cells.setdefault(t.setting, {})[t.network] = t
    for s, by in cells.items():
        dense = by["dense"]
        ratios = [ratio(by[k], dense) for k in KINDS[1:]]
        lines.append(
            f"| {s.width} | {s.dtype} | {s.batch} | {s.theta:g} | {s.operation} | "
            f"{1e3 * dense.minimum:.1f} | {least[s]:.2f} | {ratios[0]} | {ratios[1]} |"
        )
    for told in over_the_floor(cells, least):
        lines += ["", told]
    lines += ["", "Peak memory of a training step, MiB:", ""]
    lines += ["| network | " + " | ".join(memory) + " |", "|---|" + "---:|" * len(memory)]
    for kind in KINDS:
        lines.append(f"| {kind} | " + " | ".join(f"{m[kind]:.0f}" for m in memory.values()) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="two cells, nothing written")
    parser.add_argument(
        "--budget", type=float, default=4.0, help="seconds a cell, at least 5 rounds"
    )
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = [
        Randomized(width=width, dtype=dtype, theta=theta, batch=batch, operation=what)
        for width in (64, 16)
        for dtype in ("float32", "bfloat16")
        for batch in (128, 1)
        for theta in (1.0, 0.8)
        for what in (FORWARD, TRAINING, ATTACK)
    ]
    if options.quick:
        settings = [s for s in settings if s.width == 16 and s.batch == 1 and s.theta == 0.8][:2]
    timings = []
    built: dict[tuple[int, float], dict[str, nn.Module]] = {}
    for setting in settings:
        key = setting.width, setting.theta
        if key not in built:
            built[key] = {kind: network(kind, *key, device) for kind in KINDS}
        timings += measure(built[key], setting, device, options.budget)
        ours, dense = timings[-2], timings[-3]
        print(f"{setting}  ours / dense {ours.minimum / dense.minimum:.2f}", flush=True)
    memory = {
        f"width {width}, batch {batch}": {
            kind: peak(
                twice,
                kind,
                Randomized(
                    width=width, dtype="float32", theta=0.8, batch=batch, operation="training step"
                ),
            )
            for kind in KINDS
        }
        for width, batch in ([(16, 1)] if options.quick else [(64, 128), (16, 128), (64, 1)])
    }
    made_on = circumstances(device, options.budget, "bench-layers")
    least = floors(settings)
    lines = markdown(timings, least, memory)
    if not options.quick:
        from layer_floor import above_the_floor  # not in the processes whose memory is measured

        chosen = Randomized(width=64, dtype="bfloat16", theta=0.8, batch=128, operation=TRAINING)
        dense, ours, _ = (t.minimum for t in timings if t.setting == chosen)
        net = built[chosen.width, chosen.theta]["ours"]
        lines += ["", *above_the_floor(net, chosen, chosen.theta, ours / dense, options.budget / 4)]
        lines += ["", *paths(64)]
    text = "\n".join([*lines, "", made_on, ""])
    print(text)
    if not options.quick:
        told = [{**asdict(s), "floor": least[s]} for s in settings]
        write(
            *("layers", device, text, timings),
            circumstances=made_on,
            peak_memory_mib=memory,
            floors=told,
        )


if __name__ == "__main__":
    main()

"""What the benchmarks of layers share: steps of a network, timed in turn with others.

One process, the networks interleaved, minimum and median of many rounds.
"""

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

RESULTS = Path(__file__).parents[1] / "results" / "bench"


@dataclass(frozen=True)
class Setting:
    width: int
    dtype: str
    batch: int
    operation: str  # forward, training step, attack step


@dataclass(frozen=True)
class Timing:
    setting: Setting
    network: str
    minimum: float  # seconds
    median: float
    runs: int


def channels_last(made: nn.Module) -> nn.Module:
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return made


def operation(net: nn.Module, setting: Setting, x: Tensor, y: Tensor) -> Callable[[], None]:
    mixed = torch.autocast(x.device.type, torch.bfloat16, enabled=setting.dtype == "bfloat16")
    if setting.operation == "training step":
        net.train().requires_grad_(True)
        optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)

        def step() -> None:
            with mixed:
                loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    elif setting.operation == "attack step":
        net.eval().requires_grad_(False)

        def step() -> None:
            leaf = x.detach().requires_grad_(True)
            with mixed:
                loss = F.cross_entropy(net(leaf), y)
            loss.backward()

    else:
        net.eval().requires_grad_(False)

        def step() -> None:
            with torch.no_grad(), mixed:
                net(x)

    return step


def measure(
    networks: dict[str, nn.Module], setting: Setting, device: torch.device, budget: float
) -> list[Timing]:
    """Interleaved runs of the networks, at least 5 rounds, about `budget` seconds."""
    x = torch.rand(setting.batch, 3, 32, 32, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.randint(10, (setting.batch,), device=device)
    taken: dict[str, list[float]] = {kind: [] for kind in networks}
    steps = {kind: operation(net, setting, x, y) for kind, net in networks.items()}
    for step in steps.values():
        step()
        step()
    started = time.perf_counter()
    while min(map(len, taken.values())) < 5 or time.perf_counter() - started < budget:
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


def circumstances(device: torch.device, budget: float, target: str) -> str:
    commit, dirty = provenance.commit()
    return (
        f"{provenance.hardware(device)}, {torch.get_num_threads()} threads; "
        f"torch {torch.__version__}; commit {commit}{'+' if dirty else ''}; "
        f"interleaved in one process, at least 5 rounds and "
        f"{budget:g} s a cell; `make {target}`."
    )


def write(name: str, device: torch.device, text: str, timings: list[Timing], **more: Any) -> None:
    """The table and what it was made from, as results/bench/<name>[_gpu].{md,json}."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = name if device.type == "cpu" else f"{name}_gpu"
    (RESULTS / f"{name}.md").write_text(text)
    record = {"timings": [asdict(t) for t in timings], **more}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")

"""What the benchmarks share: things timed in turn, peaks of memory, tables of ratios.

One process, the contenders interleaved, minimum and median of many rounds.
"""

import argparse
import json
import multiprocessing
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defensive_tensorization.system import malloc, provenance

RESULTS = Path(__file__).parents[1] / "results" / "bench"
ROUNDS = 5  # at least


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


@dataclass(frozen=True)
class Ratio:
    """What one thing costs as a multiple of another, both measured in turn in one run."""

    name: str
    minimum: float
    median: float
    aim: float | None = None  # at most


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
    steps = {kind: operation(net, setting, x, y) for kind, net in networks.items()}
    return [
        Timing(setting, kind, min(all_), statistics.median(all_), len(all_))
        for kind, all_ in interleaved(steps, device, budget).items()
    ]


def interleaved(
    steps: Mapping[str, Callable[[], object]],
    device: torch.device,
    budget: float,
    *,
    warm: int = 2,
    rounds: int = ROUNDS,
) -> dict[str, list[float]]:
    """Seconds of each, one after the other, round after round until `budget` is spent."""
    for step in steps.values():
        for _ in range(warm):
            step()
    taken: dict[str, list[float]] = {name: [] for name in steps}
    started = time.perf_counter()
    while min(map(len, taken.values())) < rounds or time.perf_counter() - started < budget:
        for name, step in steps.items():
            taken[name].append(timed(step, device))
    return taken


def timed(step: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    at = time.perf_counter()
    step()
    _wait(device)
    return time.perf_counter() - at


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ratio(over: Timing, under: Timing) -> str:
    return f"{over.minimum / under.minimum:.2f} ({over.median / under.median:.2f})"


def over(
    taken: Mapping[str, Sequence[float]],
    one: str,
    other: str,
    aim: float | None = None,
    of: str = "",
) -> Ratio:
    """`one` over `other`; `of` says in which setting."""
    a, b = taken[one], taken[other]
    medians = statistics.median(a) / statistics.median(b)
    return Ratio(f"{of}{one} / {other}", min(a) / min(b), medians, aim)


def table(ratios: Sequence[Ratio]) -> list[str]:
    lines = ["| cost of / beside | ratio, minimum (median) | times as fast | aim | |"]
    lines.append("|---|---:|---:|---:|---|")
    for r in ratios:
        aim = "" if r.aim is None else f"at most {r.aim:.2f}"
        met = "" if r.aim is None else "met" if r.minimum <= r.aim else "missed"
        lines.append(
            f"| {r.name} | {r.minimum:.2f} ({r.median:.2f}) | {1 / r.minimum:.2f} | {aim} | {met} |"
        )
    return lines


def peak(work: Callable[..., None], *arguments: Any) -> float:
    """Peak memory in MiB of `work`, in a process of its own: the GPU's, or the resident set."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, work, *arguments).result()


def _peak(work: Callable[..., None], *arguments: Any) -> float:
    work(*arguments)
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status").read_text()  # rusage's peak is the parent's too
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**10  # type: ignore[index]


def options(description: str, **defaults: Any) -> argparse.Namespace:
    """What every part of the suite takes, and `defaults`: further numbers, or switches, by name."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="in small, to see that it runs")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, help="instead of results/bench; --quick writes only so")
    for name, value in defaults.items():
        if value is False:
            parser.add_argument(f"--{name}", action="store_true")
        else:
            parser.add_argument(f"--{name}", type=type(value), default=value, help=f"{value}")
    given = parser.parse_args()
    malloc.keep()  # as the entrypoint does
    if given.device == "cuda" and not torch.cuda.is_available():
        print(
            "error: torch sees no GPU: bench-gpu needs one, `make bench` measures this CPU",
            file=sys.stderr,
        )
        sys.exit(2)
    given.device = torch.device(given.device)
    return given


def circumstances(device: torch.device, budget: float, target: str) -> str:
    return (
        f"{where(device)}; interleaved in one process, at least {ROUNDS} rounds and "
        f"{budget:g} s a cell; `make {target}`."
    )


def where(device: torch.device) -> str:
    return (
        f"{provenance.hardware(device)}, {torch.get_num_threads()} threads; "
        f"torch {torch.__version__}; commit {provenance.commit_name()}"
    )


def report(
    name: str,
    given: argparse.Namespace,
    title: str,
    ratios: Sequence[Ratio],
    *more: str,
    **data: Any,
) -> None:
    """Print and write one part of the suite, as <name>[_gpu].{md,json} in --out."""
    made_on = f"{where(given.device)}; `make bench{'' if given.device.type == 'cpu' else '-gpu'}`."
    text = "\n".join([f"# {title}", "", *table(ratios), "", *more, "", made_on, ""])
    print(text)
    if given.quick and not given.out:
        return
    record = {
        "circumstances": made_on,
        "quick": given.quick,
        "ratios": {r.name: {"minimum": r.minimum, "median": r.median} for r in ratios},
        **data,
    }
    _write(name, given.device, text, record, given.out or RESULTS)


def write(name: str, device: torch.device, text: str, timings: list[Timing], **more: Any) -> None:
    """The table and what it was made from, as results/bench/<name>[_gpu].{md,json}."""
    _write(name, device, text, {"timings": [asdict(t) for t in timings], **more}, RESULTS)


def _write(name: str, device: torch.device, text: str, record: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = name if device.type == "cpu" else f"{name}_gpu"
    (folder / f"{name}.md").write_text(text)
    (folder / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")

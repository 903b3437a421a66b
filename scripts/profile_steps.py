"""Where a training step's and an attack step's time goes, in percent of it.

    make profile                          # width 16, batch 128, theta 0.9, bfloat16; a minute
    make profile ARGS="--width 64 --theta 0.8 --device cuda"

The package's own loops, under torch.profiler, which slows small operations down: shares, not
times. An operation belongs to the innermost part of the network that called it, in the backward
pass too (by autograd's sequence numbers). What is left of the clock is Python's, with dispatch; on
a GPU, where the device's time is shared out, with waiting for it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from time import perf_counter
from typing import Any

import torch
from bench import ROUNDS, options
from bench_training import WAYS, made_up
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from defensive_tensorization import config as cfg
from defensive_tensorization.attacks.in_units import pgd
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.evaluate import answers
from defensive_tensorization.experiment.plan import Plan
from defensive_tensorization.training import loop as training
from defensive_tensorization.tucker.conv import _TuckerConvNd
from defensive_tensorization.tucker.weight import TuckerWeight

MARK = "part: "
RECONSTRUCTION, CONVOLUTION, NORM = "reconstruction", "convolution", "BatchNorm"
LAYERS, DATA, PYTHON = "other layers", "data", "Python"
UPDATE, ATTACK = "loss and optimizer", "attack arithmetic"
ENGINE = "autograd::engine::evaluate_function"


def shares(
    events: Iterable[Any], total: float, rest: str, device: bool = False
) -> dict[str, float]:
    """Percent of `total` microseconds, by part; `rest` is the part of what no mark encloses."""
    events = list(events)
    forward: dict[int, tuple[float, str]] = {}
    for event in events:
        if event.sequence_nr >= 0 and not _enclosing(event, ENGINE):
            began = event.time_range.start  # the last to carry a number has made its node
            if began >= forward.get(event.sequence_nr, (-1.0, ""))[0]:
                forward[event.sequence_nr] = began, _part(event, rest)
    spent: defaultdict[str, float] = defaultdict(float)
    for event in events:
        if event.name.startswith(MARK):
            continue  # its own time is Python's
        node = _enclosing(event, ENGINE)
        known = forward.get(node.sequence_nr) if node else None
        part = known[1] if known else _part(event, rest)
        spent[part] += event.self_device_time_total if device else event.self_cpu_time_total
    percent = {part: 100 * each / total for part, each in spent.items()}
    return percent | {PYTHON: 100 - sum(percent.values())}


def _enclosing(event: Any, name: str) -> Any:
    """The innermost event of that name around this one, itself included; None: there is none."""
    while event is not None and not event.name.startswith(name):
        event = event.cpu_parent
    return event


def _part(event: Any, rest: str) -> str:
    mark = _enclosing(event, MARK)
    return mark.name.removeprefix(MARK) if mark else rest


def marked(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with record_function(MARK + part):
            return function(*args, **kwargs)

    return inside


@contextmanager
def marks(network: nn.Module) -> Iterator[None]:
    """Everything of the network in its part, and the data."""
    kinds = {
        CONVOLUTION: (nn.Conv2d, _TuckerConvNd),
        NORM: (nn.modules.batchnorm._BatchNorm,),
        RECONSTRUCTION: (TuckerWeight,),
    }
    own = ("draw", "kernel", "latent")
    before = {name: getattr(TuckerWeight, name) for name in own}, training.batches
    network.forward = marked(LAYERS, network.forward)  # type: ignore[method-assign]
    for module in network.modules():
        for part, types in kinds.items():
            if isinstance(module, types):
                module.forward = marked(part, module.forward)  # type: ignore[method-assign]
    for name, method in before[0].items():
        setattr(TuckerWeight, name, marked(RECONSTRUCTION, method))
    training.batches = _batches  # type: ignore[assignment]
    try:
        yield
    finally:
        training.batches = before[1]
        for name, method in before[0].items():
            setattr(TuckerWeight, name, method)
        for module in network.modules():
            module.__dict__.pop("forward", None)


_made = training.batches


def _batches(*args: Any) -> Iterator[Any]:
    made = iter(_made(*args))
    while True:
        with record_function(MARK + DATA):
            batch = next(made, None)
        if batch is None:
            return
        yield batch


def profiled(work: Callable[[], object], rest: str, device: torch.device) -> dict[str, float]:
    cuda = device.type == "cuda"
    work()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as made:
        started = perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize(device)
        total = 1e6 * (perf_counter() - started)
    return shares(made.events(), total, rest, cuda)


def steps(way: str, width: int, batch: int, dtype: str, device: torch.device) -> dict[str, Any]:
    """The shares of a few training steps and of a few attack steps."""
    task = made_up(ROUNDS * batch, device)
    words = [f"model.width={width}", f"train.autocast={dtype}", f"train.batch_size={batch}"]
    p = Plan(cfg.composed([way, *words, "model.batchnorm=running"]), task)
    network, schedule = components.network(p), replace(components.schedule(p), epochs=1)
    optimizer = components.optimizer(p, network)
    with marks(network):
        epoch = profiled(
            lambda: training.train(network, task, schedule, optimizer, 0), UPDATE, device
        )
    classifier = components.classifier(p, network)
    attack = pgd(epsilon=8, unit=1 / 255, steps=ROUNDS)
    split = task.test.head(batch)
    with marks(network):
        attacked = profiled(
            lambda: answers(classifier, task, split, attack, 0, batch), ATTACK, device
        )
    return {"a training step": epoch, "an attack step": attacked}


def table(found: dict[str, dict[str, float]]) -> list[str]:
    """Percentages to one decimal; the column of a step sums to 100."""
    parts = (RECONSTRUCTION, CONVOLUTION, NORM, LAYERS, UPDATE, ATTACK, DATA, PYTHON)
    lines = [f"{'% of':20s}" + "".join(f"{name:>20s}" for name in found)]
    for part in parts:
        values = [each.get(part) for each in found.values()]
        shown = ["" if v is None else f"{v:.1f}" for v in values]
        lines.append(f"{part:20s}" + "".join(f"{value:>20s}" for value in shown))
    return lines


def main() -> None:
    given = options(__doc__, width=16, batch=128, theta=0.9, dtype="bfloat16")
    ways = {"dense": WAYS["dense"], f"ours, theta {given.theta:g}": f"theta={given.theta}"}
    width, batch = (8, 16) if given.quick else (given.width, given.batch)
    for name, way in ways.items():
        print(f"{name}, width {width}, batch {batch}, {given.dtype}")
        print("\n".join(table(steps(way, width, batch, given.dtype, given.device))), "\n")


if __name__ == "__main__":
    main()

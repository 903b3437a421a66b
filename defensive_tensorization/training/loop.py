"""Training: one loop, resumable at every batch with the same result as if never interrupted.

Whatever is random in an epoch is seeded from (seed, epoch), so a checkpoint between two epochs
needs no generators; one from the middle of an epoch holds where they stand.
"""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import isfinite
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import sketching
from ..data import Task
from ..errors import UsageError
from ..system import signals
from ..system.progress import bar
from .batches import batches
from .compile import compiled
from .distributed import ALONE, Team
from .microbatches import Microbatches, gradients
from .rng_state import RngState
from .schedule import Schedule

log = logging.getLogger(__name__)

Perturb = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, AbstractContextManager[None]]]
"""(x, y, generator) to the examples that take x's place, and the context of their update."""


@dataclass
class Progress:
    """Where a training stands: what a checkpoint holds.

    step, streams  batches done of the epoch under way, the sum of their losses and the generators.
    pieces         how many a batch is cut into for want of memory.
    """

    epoch: int = 0
    network: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    step: int = 0
    streams: dict[str, Any] = field(default_factory=dict)
    pieces: int = 1

    def state(self) -> dict[str, Any]:
        """For a checkpoint; later fields are left out at their defaults, as in older ones."""
        unset = {"step": 0, "streams": {}, "pieces": 1}
        return {k: v for k, v in vars(self).items() if k not in unset or v != unset[k]}


def train(
    network: nn.Module,
    task: Task,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    seed: int,
    *,
    resume: Progress | None = None,
    after_epoch: Callable[[Progress], None] = lambda progress: None,
    validate: Callable[[], float] | None = None,
    label: str = "train",
    perturb: Perturb | None = None,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    team: Team = ALONE,
) -> Progress:
    """Train in place; `after_epoch` saves, `validate` is reported and never chooses weights.

    perturb  attacks every batch before its update; penalty  joins the loss; team  shares batches.
    Where the program is asked to stop, `after_epoch` gets the epoch as far as it went (step > 0),
    then Stopped is raised.
    """
    progress = resume or Progress()
    if resume:
        network.load_state_dict(resume.network)
        optimizer.load_state_dict(resume.optimizer)
    starting_rates = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
    for group, rate in zip(optimizer.param_groups, starting_rates, strict=True):
        group["initial_lr"] = rate
    split = task.train.part(schedule.images, "train.images")
    device = next(network.parameters()).device
    noise = torch.Generator()
    streams = RngState(network, noise, device)
    replica = team.replica(network)
    forward = replica if schedule.compile is None else compiled(replica, schedule.compile)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        update: AbstractContextManager[None] = nullcontext()
        if perturb is not None:
            with team.holding(), autocast(device, schedule.autocast):
                x, update = perturb(x, y, noise)
        with update, autocast(device, schedule.autocast):
            loss = F.cross_entropy(forward(x), y)
            return loss if penalty is None else loss + penalty(network)

    def reached(epoch: int, done: int, total: Tensor) -> Progress:
        """An epoch as far as it went, for the program to end."""
        state = network.state_dict(), optimizer.state_dict(), progress.history
        return Progress(epoch, *state, done, {"total": total, **streams.now()}, pieces.count)

    pieces = Microbatches(network, streams.now, streams.rewind, progress.pieces)
    step_gradients = pieces.gradients if team.alone else partial(gradients, pieces=pieces.count)
    epochs = range(progress.epoch, schedule.epochs)
    for epoch in bar(epochs, schedule.epochs, f"training {label}", "epochs", progress.epoch):
        started = time.perf_counter()
        sketching.seed(network, sketching.stream(seed, "sketch", epoch, *team.own))
        torch.manual_seed(sketching.stream(seed, "torch", epoch, *team.own))
        order = torch.Generator().manual_seed(sketching.stream(seed, "order", epoch))
        noise.manual_seed(sketching.stream(seed, "perturb", epoch, *team.own))
        network.train()
        count = max(1, len(split) // schedule.batch_size)
        at = f"{label} is saved at epoch {epoch + 1}, batch {{}} of {count}"
        total = torch.zeros((), device=device)
        done = progress.step
        if done:
            total += progress.streams["total"].to(device)
            streams.rewind(progress.streams)
        steps = bar(
            islice(team.shares(batches(split, task.flip, schedule, order)), done, None),
            count,
            f"epoch {epoch + 1}",
            initial=done,
        )
        for step, (x, y) in enumerate(steps, done):
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * schedule.factor(epoch + step / count)
            optimizer.zero_grad(set_to_none=True)
            total += step_gradients(loss_of, x, y)
            optimizer.step()
            done = step + 1
            if team.any(signals.noted()):
                team.mean(total)
                _check(float(total) / done, network, epoch)
                if not team.own:  # a checkpoint holds the first process's streams
                    after_epoch(reached(epoch, done, total))
                signals.stop(at.format(0 if team.own else done))
                raise SystemExit(1)  # it was another process that was asked to stop
        mean_loss = float(team.mean(total)) / count
        _check(mean_loss, network, epoch)
        line = {
            "epoch": epoch + 1,
            "loss": mean_loss,
            "lr": optimizer.param_groups[0]["lr"],
            "seconds": time.perf_counter() - started,
        }
        if pieces.count > 1:
            line["pieces"] = pieces.count
        if validate is not None:
            try:
                line["accuracy"] = validate()
            except BaseException:
                after_epoch(reached(epoch, done, total))
                signals.stop(at.format(done))
                raise
        progress = Progress(
            epoch + 1,
            network.state_dict(),
            optimizer.state_dict(),
            [*progress.history, line],
            pieces=pieces.count,
        )
        after_epoch(progress)
        log.info("%s %s", label, "  ".join(f"{k} {v:.4g}" for k, v in line.items()))
    return progress


def _check(loss: float, network: nn.Module, epoch: int) -> None:
    """UsageError unless the loss and every weight and statistic are numbers."""
    what = f"loss became {loss}"
    if isfinite(loss):
        bad = (name for name, value in network.state_dict().items() if not value.isfinite().all())
        if not (name := next(bad, "")):
            return
        what = f"values of {name} became infinite or no numbers"
    raise UsageError(
        f"the training {what} in epoch {epoch + 1}, which is not kept: "
        "lower train.optimizer.lr or set train.warmup"
    )


def autocast(device: torch.device, dtype: str) -> AbstractContextManager[Any]:
    """Matrix products in bfloat16 (weights stay float32), or everything in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16")

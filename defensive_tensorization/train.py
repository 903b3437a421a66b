"""Training: one loop, resumable at every batch with the same result as if never interrupted.

Whatever is random in an epoch is seeded from (seed, epoch), so a checkpoint between two epochs
needs no generators; one from the middle of an epoch holds where they stand.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import isfinite
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import sketching, stopping
from .compiled import compiled
from .data import Split, Task, decode, onto
from .distributed import ALONE, Team
from .errors import UsageError
from .pieces import Pieces, gradients
from .progress import bar

log = logging.getLogger(__name__)

Perturb = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, AbstractContextManager[None]]]
"""(x, y, generator) to the examples that take x's place, and the context of their update."""


@dataclass(frozen=True)
class Schedule:
    """lr rises over `warmup`, then falls by `gamma` at each milestone; both as shares of it.

    decay "linear": it falls in a straight line to zero at the end instead.
    """

    epochs: int
    batch_size: int
    milestones: tuple[float, ...]
    gamma: float
    warmup: float = 0.0
    decay: str = "steps"
    crop: int = 0
    autocast: str = "float32"
    images: int | None = None
    compile: str | None = None

    def factor(self, epoch: float) -> float:
        """What the starting learning rate is multiplied by, at an epoch that may be fractional."""
        share = epoch / self.epochs
        rise = min(1.0, share / self.warmup) if self.warmup else 1.0
        if self.decay == "linear":
            return rise * (1.0 if rise < 1 else (1.0 - share) / (1.0 - self.warmup))
        return rise * self.gamma ** sum(share >= m for m in self.milestones)


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
    split = task.train if schedule.images is None else _head(task.train, schedule.images)
    device = next(network.parameters()).device
    noise = torch.Generator()
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

    def rewind(streams: Mapping[str, Any]) -> None:
        _rewind(streams, network, noise, device)

    def reached(epoch: int, done: int, total: Tensor) -> Progress:
        """An epoch as far as it went, for the program to end."""
        state = network.state_dict(), optimizer.state_dict(), progress.history
        streams = {"total": total, **_streams(network, noise, device)}
        return Progress(epoch, *state, done, streams, pieces.count)

    pieces = Pieces(network, lambda: _streams(network, noise, device), rewind, progress.pieces)
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
            rewind(progress.streams)
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
            if team.any(stopping.noted()):
                team.mean(total)
                _check(float(total) / done, network, epoch)
                if not team.own:  # a checkpoint holds the first process's streams
                    after_epoch(reached(epoch, done, total))
                stopping.stop(at.format(0 if team.own else done))
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
                stopping.stop(at.format(done))
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


def _streams(network: nn.Module, noise: torch.Generator, device: torch.device) -> dict[str, Any]:
    """Where everything that is random in an epoch stands, the order of the images apart."""
    return {
        "sketch": sketching.streams(network),
        "noise": noise.get_state(),
        "torch": torch.get_rng_state(),
        **({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}),
    }


def _rewind(
    streams: Mapping[str, Any], network: nn.Module, noise: torch.Generator, device: torch.device
) -> None:
    sketching.rewind(network, streams["sketch"], device)
    noise.set_state(streams["noise"])
    torch.set_rng_state(streams["torch"])
    if device.type == "cuda" and "cuda" in streams:
        torch.cuda.set_rng_state(streams["cuda"], device)


def batches(
    split: Split, flip: bool, schedule: Schedule, order: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches of decoded examples in a random order; flips and crops are drawn per image."""
    n, size = len(split), min(schedule.batch_size, len(split))
    device = split.inputs.device
    shuffled = onto(torch.randperm(n, generator=order), device)
    for start in range(0, n - size + 1, size):
        index = shuffled[start : start + size]
        x = decode(split.inputs[index])
        if flip:
            mirrored = onto(torch.rand(size, 1, 1, 1, generator=order) < 0.5, device)
            x = torch.where(mirrored, x.flip(-1), x)
        if schedule.crop:
            x = _crop(x, schedule.crop, order)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        yield x, split.labels[index]


def _crop(x: Tensor, padding: int, order: torch.Generator) -> Tensor:
    """A window of the original size from each zero-padded image, at an offset of its own."""
    b, _, h, w = x.shape
    padded = F.pad(x, (padding,) * 4)
    offsets = onto(torch.randint(2 * padding + 1, (2, b, 1), generator=order), x.device)
    rows = offsets[0] + torch.arange(h, device=x.device)  # [B, H]
    columns = offsets[1] + torch.arange(w, device=x.device)
    image = torch.arange(b, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )


def _head(split: Split, images: int) -> Split:
    if not 0 < images <= len(split):
        raise UsageError(f"train.images must lie in 1..{len(split)}, got {images}")
    return split.head(images)


def autocast(device: torch.device, dtype: str) -> AbstractContextManager[Any]:
    """Matrix products in bfloat16 (weights stay float32), or everything in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16")

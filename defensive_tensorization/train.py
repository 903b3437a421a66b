"""Training: one loop, resumable at every epoch with the same result as if never interrupted.

Whatever is random in an epoch is seeded from (seed, epoch), so a checkpoint needs no generators.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import sketching
from .data import Split, Task, decode
from .errors import UsageError
from .progress import bar

log = logging.getLogger(__name__)

Perturb = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, AbstractContextManager[None]]]
"""(x, y, generator) to the examples that take x's place, and the context of their update."""


@dataclass(frozen=True)
class Schedule:
    """lr rises over `warmup`, then falls by `gamma` at each milestone; both as shares of it."""

    epochs: int
    batch_size: int
    milestones: tuple[float, ...]
    gamma: float
    warmup: float = 0.0
    crop: int = 0
    autocast: str = "float32"
    images: int | None = None

    def factor(self, epoch: float) -> float:
        """What the starting learning rate is multiplied by, at an epoch that may be fractional."""
        share = epoch / self.epochs
        rise = min(1.0, share / self.warmup) if self.warmup else 1.0
        return rise * self.gamma ** sum(share >= m for m in self.milestones)


@dataclass
class Progress:
    """Where a training stands: what a checkpoint holds."""

    epoch: int = 0
    network: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


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
) -> Progress:
    """Train in place; `after_epoch` saves, `validate` is reported and never chooses weights.

    perturb  attacks every batch before its update; penalty  joins the loss.
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
    epochs = range(progress.epoch, schedule.epochs)
    for epoch in bar(epochs, schedule.epochs, f"training {label}", "epochs", progress.epoch):
        started = time.perf_counter()
        sketching.seed(network, sketching.stream(seed, "sketch", epoch))
        torch.manual_seed(sketching.stream(seed, "torch", epoch))
        order = torch.Generator().manual_seed(sketching.stream(seed, "order", epoch))
        noise = torch.Generator().manual_seed(sketching.stream(seed, "perturb", epoch))
        network.train()
        count = max(1, len(split) // schedule.batch_size)
        total = torch.zeros((), device=device)
        steps = bar(batches(split, task.flip, schedule, order), count, f"epoch {epoch + 1}")
        for step, (x, y) in enumerate(steps):
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * schedule.factor(epoch + step / count)
            update: AbstractContextManager[None] = nullcontext()
            if perturb is not None:
                with autocast(device, schedule.autocast):
                    x, update = perturb(x, y, noise)
            with update, autocast(device, schedule.autocast):
                loss = F.cross_entropy(network(x), y)
                if penalty is not None:
                    loss = loss + penalty(network)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        mean_loss = float(total) / count
        if not mean_loss < float("inf"):
            raise UsageError(
                f"the training loss became {mean_loss} in epoch {epoch + 1}, which is not kept: "
                "lower train.optimizer.lr or set train.warmup"
            )
        line = {
            "epoch": epoch + 1,
            "loss": mean_loss,
            "lr": optimizer.param_groups[0]["lr"],
            "seconds": time.perf_counter() - started,
        }
        if validate is not None:
            line["accuracy"] = validate()
        progress = Progress(
            epoch + 1, network.state_dict(), optimizer.state_dict(), [*progress.history, line]
        )
        after_epoch(progress)
        log.info("%s %s", label, "  ".join(f"{k} {v:.4g}" for k, v in line.items()))
    return progress


def batches(
    split: Split, flip: bool, schedule: Schedule, order: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches of decoded examples in a random order; flips and crops are drawn per image."""
    n, size = len(split), min(schedule.batch_size, len(split))
    device = split.inputs.device
    shuffled = torch.randperm(n, generator=order)
    for start in range(0, n - size + 1, size):
        index = shuffled[start : start + size].to(device)
        x = decode(split.inputs[index])
        if flip:
            mirrored = (torch.rand(size, 1, 1, 1, generator=order) < 0.5).to(device)
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
    offsets = torch.randint(2 * padding + 1, (2, b, 1), generator=order).to(x.device)
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

"""One run by several processes, as `torchrun` starts them, each with a GPU of its own.

    torchrun --nproc-per-node=4 -m defensive_tensorization theta=0.9

Training (DDP): every process holds an equal share of each batch, gradients are averaged, BatchNorm
has the statistics of the whole batch and all meet the same draw, so the weights are those of one
process, to rounding. Where `train.parallel` says otherwise they depend on the number of processes,
which then is part of the run's identity. Evaluation: rows are dealt out, each made whole by one.
The first process alone writes: checkpoints, rows, W&B, what is printed.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import UsageError
from ..models.batchnorm import synchronise
from ..system import batch_shard

T = TypeVar("T")
PATIENCE = timedelta(days=1)  # the first process may wait for a neighbour's lock, the others for it


def join() -> None:
    """Meet the other processes, if torchrun started several; a second call does nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if os.environ["RANK"] != "0":
        os.environ["TQDM_DISABLE"] = "1"  # one progress bar is enough
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def first() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


@contextmanager
def one_a_machine_first() -> Iterator[None]:
    """The others follow once the first of each machine is through: it downloads and packs."""
    if size() == 1:
        yield
        return
    leads = os.environ.get("LOCAL_RANK", "0") == "0"
    if not leads:
        dist.barrier()
    yield
    if leads:
        dist.barrier()


def at_first(context: AbstractContextManager[T]) -> AbstractContextManager[T | None]:
    """The context in the first process, nothing in the others."""
    return context if first() else nullcontext()


def broadcast(value: Callable[[], T]) -> T:
    """What the first process finds, to everybody; plain values and tensors on the CPU."""
    if size() == 1:
        return value()
    held: list[Any] = [value() if first() else None]
    dist.broadcast_object_list(held, src=0)
    found: T = held[0]
    return found


def align(network: nn.Module) -> None:
    """The first process's weights and statistics, in everybody's network."""
    if size() > 1:
        for value in network.state_dict().values():
            dist.broadcast(value, src=0)


def shard_indices(count: int, shift: int = 0) -> list[int]:
    """Which of `count` things are this process's; `shift` deals the next hand from another seat."""
    return [i for i in range(count) if (i + shift) % size() == rank()]


def gather(mine: Iterable[tuple[int, T]]) -> Iterator[tuple[int, T]]:
    """Everybody's pairs in order, when all are there; as they come where there is one process."""
    if size() == 1:
        yield from mine
        return
    hands: list[Any] = [None] * size()
    dist.all_gather_object(hands, list(mine))
    yield from sorted((pair for hand in hands for pair in hand), key=lambda pair: pair[0])


@dataclass(frozen=True)
class Team:
    """How the processes of one training work together; the default is one that works alone.

    batchnorm  synchronised: statistics of the whole batch; local: of each share, the first's kept
    draws      shared: of sketches and attacks one for all shares; own: each share has its own
    processes  how many there must be, where the weights depend on it
    """

    batchnorm: Literal["synchronised", "local"] = "synchronised"
    draws: Literal["shared", "own"] = "shared"
    processes: int | None = None

    def __post_init__(self) -> None:
        if self.processes not in (None, size()):
            raise UsageError(
                f"train.parallel.processes={self.processes}, but {size()} run: start it with "
                f"torchrun --nproc-per-node={self.processes} -m defensive_tensorization ..."
            )

    @property
    def alone(self) -> bool:
        return size() == 1

    @property
    def own(self) -> tuple[int, ...]:
        """What the keys of this process's random streams end with."""
        return (rank(),) if self.draws == "own" and size() > 1 else ()

    def replica(self, network: nn.Module) -> nn.Module:
        """The module whose backward averages the gradients of `network` over the processes."""
        if size() == 1:
            return network
        if self.batchnorm == "synchronised":
            synchronise(network, moments)
        local = self.batchnorm == "local"
        return nn.parallel.DistributedDataParallel(network, broadcast_buffers=local)

    def shares(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Of every batch, the examples [B / size, ...] and labels of this process."""
        for x, y in batches:
            if len(x) % size():
                raise UsageError(
                    f"a batch of {len(x)} has no {size()} equal shares: take a train.batch_size "
                    "that the number of processes divides"
                )
            yield batch_shard.part(x, rank(), size()), batch_shard.part(y, rank(), size())

    def holding(self) -> AbstractContextManager[None]:
        """Where an attack of training draws: for its batch, or for itself alone."""
        return nullcontext() if self.own else batch_shard.holding(rank(), size())

    def any(self, asked: bool) -> bool:
        """Whether any of the processes was: they must stop at the same batch."""
        if size() == 1:
            return asked
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        told = torch.tensor(asked, dtype=torch.int, device=device)
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return bool(told)

    def mean(self, value: Tensor) -> Tensor:
        """Over the processes, in place."""
        if size() > 1:
            dist.all_reduce(value)
            value /= size()
        return value


ALONE = Team()


class _Sum(torch.autograd.Function):
    """The sum over processes. Its gradient is one too: every process's loss depends on it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        g = g.clone()
        dist.all_reduce(g)
        return g


def moments(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean [C], variance [C] and size of everybody's x [B, C, ...], in one exchange.

    The variance is that within shares plus that between them: a difference of large squares would
    lose digits.
    """
    variance, mean = torch.var_mean(x.float(), dim=(0, *range(2, x.ndim)), correction=0)
    seat = torch.arange(size(), device=x.device) == rank()
    mine = torch.stack([mean, variance]) * seat[:, None, None]  # [size, 2, C], zero but for ours
    means, variances = _Sum.apply(mine).unbind(1)  # type: ignore[no-untyped-call]
    mean = means.mean(0)
    variance = (variances + (means - mean).square()).mean(0)
    return mean, variance, x.numel() // x.shape[1] * size()

"""The share of a batch that each of several processes holds: equal parts, in the ranks' order.

What is random is drawn for the whole batch by everybody, who keep their own part of it, so that the
batch is the one that a single process would have made.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Generator, Tensor

_held: ContextVar[tuple[int, int]] = ContextVar("share", default=(0, 1))


@contextmanager
def holding(rank: int, size: int) -> Iterator[None]:
    """Until the block ends, batches of this process are the share of `rank` among `size`."""
    token = _held.set((rank, size))
    try:
        yield
    finally:
        _held.reset(token)


def part(whole: Tensor, rank: int, size: int) -> Tensor:
    """[B, ...] to [B / size, ...]."""
    return whole.chunk(size)[rank] if size > 1 else whole


def drawn(draw: Callable[..., Tensor], shape: Sequence[int], generator: Generator) -> Tensor:
    """`draw`, torch.rand or such, of a share's shape: this process's part of the batch's."""
    rank, size = _held.get()
    return part(draw((shape[0] * size, *shape[1:]), generator=generator), rank, size)

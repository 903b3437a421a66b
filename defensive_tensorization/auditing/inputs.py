"""Anybody's data as batches: a pair of tensors, a DataLoader, any iterable of batches."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ..errors import UsageError

Data: TypeAlias = tuple[Tensor, Tensor] | Iterable[Any]
"""(x [N, ...], y [N]), or an iterable of such pairs; what a batch holds beside them is ignored."""

ORDER = 0  # seeds the permutation of a pair, whose images may lie class by class
EMPTY = "the data holds no image: give at least one"


def batches(data: Data, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of at most `size` images, in the order of the data."""
    for x, y in _pairs(data):
        if len(x):
            yield from zip(x.split(size), y.split(size), strict=True)


def count(data: Data, size: int) -> int | None:
    """How many batches of at most `size`, as far as it is known before."""
    if (pair := _pair(data)) is not None:
        return -(-len(pair[0]) // size)
    given = getattr(data, "batch_size", None)
    small = isinstance(given, int) and given <= size
    try:
        return len(data) if small else None  # type: ignore[arg-type]
    except TypeError:  # an iterator, or a DataLoader of a dataset without a length
        return None


def available(data: Data, taken: int) -> int:
    """How many images there are; of an iterable of unknown length those that were `taken`."""
    if (pair := _pair(data)) is not None:
        return len(pair[0])
    dataset = getattr(data, "dataset", None)
    return len(dataset) if hasattr(dataset, "__len__") else taken  # type: ignore[arg-type]


class FirstImages:
    """So many images of data that is read once: of a pair by a fixed permutation, else the first.

    More images are the former ones and those that follow. An iterator has no second start, and a
    DataLoader may shuffle.
    """

    def __init__(self, data: Data) -> None:
        self.data = data
        self._rest: Iterator[tuple[Tensor, Tensor]] | None = None
        self._read: list[tuple[Tensor, Tensor]] = []

    def take(self, images: int) -> tuple[Tensor, Tensor]:
        """x [n, ...] and y [n] of at most `images` images; fewer if the data holds no more.

        Raises:
            UsageError: for data that holds no image, images of unequal shapes, or is no data.
        """
        if (pair := _pair(self.data)) is not None:
            x, y = pair
            made = torch.Generator().manual_seed(ORDER)
            order = torch.randperm(len(x), generator=made)[:images]
            x, y = x[order.to(x.device)], y[order.to(y.device)]
        else:
            x, y = self._first(images)
        if not len(x):
            raise UsageError(EMPTY)
        return x, y

    def _first(self, images: int) -> tuple[Tensor, Tensor]:
        self._rest = _pairs(self.data) if self._rest is None else self._rest
        while sum(len(x) for x, _ in self._read) < images:
            batch = next(self._rest, None)
            if batch is None:
                break
            first, other = (self._read or [batch])[0][0], batch[0]
            if first.shape[1:] != other.shape[1:]:
                raise UsageError(
                    "an audit needs inputs of one shape, got batches of "
                    f"{[*first.shape[1:]]} and {[*other.shape[1:]]}: resize or crop the inputs"
                )
            self._read.append(batch)
        if not self._read:
            raise UsageError(EMPTY)
        xs, ys = zip(*self._read, strict=True)
        return torch.cat(xs)[:images], torch.cat(ys)[:images]


def _pair(data: Data) -> tuple[Tensor, Tensor] | None:
    if isinstance(data, tuple | list) and len(data) == 2:
        x, y = data
        if isinstance(x, Tensor) and isinstance(y, Tensor):
            return _checked(x, y)
    return None


def _pairs(data: Data) -> Iterator[tuple[Tensor, Tensor]]:
    if (pair := _pair(data)) is not None:
        yield pair
        return
    if not isinstance(data, Iterable) or isinstance(data, Tensor | str | dict):
        raise UsageError(
            f"the data must be tensors (x, y) or batches of them, got {type(data).__name__}: give "
            "(x, y) or a DataLoader"
        )
    for batch in data:
        if not (isinstance(batch, tuple | list) and len(batch) >= 2):
            raise UsageError(
                f"a batch must be (x, y), got {type(batch).__name__}: give a DataLoader, or an "
                "iterable of pairs"
            )
        x, y = batch[:2]
        if not (isinstance(x, Tensor) and isinstance(y, Tensor)):
            raise UsageError(
                f"a batch must hold tensors x [B, ...] and y [B], got {type(x).__name__} and "
                f"{type(y).__name__}: wrap a dataset in torch.utils.data.DataLoader"
            )
        yield _checked(x, y)


def _checked(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y):
        raise UsageError(
            f"a batch must be x [B, ...] and y [B], got {[*x.shape]} and {[*y.shape]}: give one "
            "label for each input"
        )
    return x, y

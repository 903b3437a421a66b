"""Draws inside a graph of torch.compile: an operator that the compiler does not look into.

It asks, whenever the graph runs, what the controls make of a draw, so one graph serves live,
frozen and disabled networks alike and meets the draws that it would meet without compilation. The
tensor `calls` counts them: an operator that writes is neither merged with another nor left out.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from ..errors import UsageError

if TYPE_CHECKING:
    from .draws import Drawn, RandomState

_numbers = count()
_known: WeakValueDictionary[int, RandomState] = WeakValueDictionary()

_library = torch.library.Library("defensive_tensorization", "FRAGMENT")
_library.define("masks(int draws, int size, Tensor(a!) calls, Device device) -> Tensor")


def know(draws: RandomState) -> int:
    """The number by which graphs find `draws`."""
    number = next(_numbers)
    _known[number] = draws
    return number


@torch.library.impl(_library, "masks", "CompositeExplicitAutograd")
def _masks(draws: int, size: int, calls: Tensor, device: torch.device) -> Tensor:
    calls.add_(1)
    return _known[draws].flat(device, size)


@torch.library.register_fake("defensive_tensorization::masks", lib=_library)  # type: ignore[untyped-decorator]
def _shape(draws: int, size: int, calls: Tensor, device: torch.device) -> Tensor:
    return torch.empty(size, device=device)


@torch._disable_dynamo  # type: ignore[attr-defined]  # torch.compiler.disable loads it at once
def _outside(
    draws: RandomState, device: torch.device, batch: int | None, size: int, whole: bool
) -> Drawn | None:
    return draws.draw(device, batch, size=size, whole=whole)


def _constant(number: int, device: torch.device, batch: int | None, whole: bool) -> Drawn | None:
    return _known[number].draw(device, batch, whole=whole)


_constant._dynamo_marked_constant = True  # type: ignore[attr-defined]  # assume_constant_result


def draw(
    draws: RandomState, device: torch.device, batch: int | None, size: int, whole: bool
) -> Drawn | None:
    """As `RandomState.draw`, traced."""
    if draws.ahead and not size:
        return draws.ahead[0]
    if not draws.random:
        return None
    sizes = draws.mask_sizes
    if sizes is None:
        return _outside(draws, device, batch, size, whole)
    if torch.compiler._is_exporting_flag:  # dynamo takes is_exporting() for always true
        return _constant(draws.number, device, batch, whole)
    operator = torch.ops.defensive_tensorization.masks
    flat = operator(draws.number, sum(sizes), draws.calls, device)
    split = iter(flat.split([n for n in sizes if n]))
    return tuple([next(split) if n else None for n in sizes])


def refuse_parts() -> None:
    """A graph was made for one draw."""
    raise UsageError(
        "a compiled graph meets one draw for the batch, not per_sample or draws_per_batch: "
        "use the network before torch.compile"
    )

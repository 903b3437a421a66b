"""What layers compute from a draw, for later forwards of a block that meet the same draw.

An entry is found by where the draw's tensors lie in memory; it keeps them, so no other draw comes
to lie there. Threads that are started in a block compute their own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

import torch
from torch import Tensor

from . import eager, recompute
from .draws import Drawn

_Key: TypeAlias = tuple[int | None, ...]
_made: ContextVar[dict[_Key, tuple[Drawn, Tensor]] | None] = ContextVar("products", default=None)


@contextmanager
def kept() -> Iterator[None]:
    """Keep in the block what `keep` is given."""
    token = _made.set({})
    try:
        yield
    finally:
        _made.reset(token)


def usable() -> bool:
    """Whether there is such a block here, and this is an ordinary eager forward, run once."""
    if torch.compiler.is_compiling() or _made.get() is None:
        return False
    return recompute.ordinary() and not eager.leaves()


def keep(owner: object, drawn: Drawn, product: Tensor) -> None:
    """Keep what `owner` has computed from the draw."""
    made = _made.get()
    if made is not None:
        made[_key(owner, drawn)] = drawn, product


def find(owner: object, drawn: Drawn) -> Tensor | None:
    """What `owner` has computed from the draw before."""
    found = (_made.get() or {}).get(_key(owner, drawn))
    return None if found is None else found[1]


def _key(owner: object, drawn: Drawn) -> _Key:
    return (id(owner), *[None if d is None else d.data_ptr() for d in drawn])

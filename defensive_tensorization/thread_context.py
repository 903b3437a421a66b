"""Context variables whose blocks reach the threads that are started inside them.

A plain `ContextVar` is empty in a new thread. Here a thread that has opened no block of its own is
under the blocks that were open when it was started: the threads of nn.DataParallel, or of a
ThreadPoolExecutor made inside the block. Python does not record who started a thread, so two rules
keep independent users apart: a thread that was alive when a block was opened is never under it, and
no thread is under the blocks of two others for the same key. In both cases one warning is given.
"""

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(eq=False)
class _Block(Generic[K, V]):
    values: Mapping[K, V]
    opener: threading.Thread
    alive: frozenset[threading.Thread]  # when it was opened
    around: frozenset["_Block[K, V]"]  # what it was opened in, and so contains
    warned: bool = False


class ThreadContext(Generic[K, V]):
    """A mapping that `opened` blocks set, for the thread that opens them and those it starts."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._own: ContextVar[Mapping[K, V] | None] = ContextVar(name, default=None)
        self._open: tuple[_Block[K, V], ...] = ()
        self._lock = threading.Lock()

    def get(self, key: K, default: V, *, warn: bool = True) -> V:
        """The value in force for the key, in this thread.

        Args:
            warn: whether to warn where another thread's block for the key does not reach.
        """
        own = self._own.get()
        if own is not None:
            return own.get(key, default)
        return self._inherited(key, default, warn) if self._open else default

    @contextmanager
    def opened(self, values: Mapping[K, V]) -> Iterator[None]:
        """`values` join those in force until the block ends."""
        here = threading.current_thread()
        whole = {**self._in_force(), **values}
        around = self._around(here)
        block = _Block(whole, here, frozenset(threading.enumerate()) | {here}, around)
        token = self._own.set(whole)
        with self._lock:
            self._open = (*self._open, block)
        try:
            yield
        finally:
            self._own.reset(token)
            with self._lock:
                self._open = tuple(b for b in self._open if b is not block)

    def _in_force(self) -> Mapping[K, V]:
        own = self._own.get()
        if own is not None:
            return own
        keys = {key for block in self._open for key in block.values}
        found = {key: self._inheritable(key) for key in keys}
        return {key: blocks[0].values[key] for key, blocks in found.items() if len(blocks) == 1}

    def _around(self, here: threading.Thread) -> frozenset[_Block[K, V]]:
        """The open blocks that this thread has opened or was started in, and those around them."""
        found = [b for b in self._open if b.opener is here or here not in b.alive]
        return frozenset(found).union(*(b.around for b in found))

    def _inheritable(self, key: K) -> list[_Block[K, V]]:
        """The inmost blocks with the key around this thread's start: one, if it is clear which."""
        here = threading.current_thread()
        found = [b for b in self._open if here not in b.alive and key in b.values]
        return [b for b in found if not any(b in other.around for other in found)]

    def _inherited(self, key: K, default: V, warn: bool) -> V:
        blocks = self._inheritable(key)
        if len(blocks) == 1:
            return blocks[0].values[key]
        if not warn:
            return default
        here = threading.current_thread()
        for block in self._open:
            if key in block.values and block.opener is not here and not block.warned:
                block.warned = True
                warnings.warn(
                    f"another thread is inside a {self.name} block, which does not reach thread "
                    f"{here.name!r}: open the block in that thread, or start the thread inside it",
                    stacklevel=4,
                )
        return default

"""Where long work stands: nested bars on a terminal, one line a minute in a log.

Levels nest as the calls do: table, run, attack (or epoch), batch. The time left at a level is told
from what it has finished in this process.
"""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from threading import Event, Thread
from typing import Any, TypeVar

from . import output

T = TypeVar("T")

EVERY = 60.0  # seconds between two lines in a log

log = logging.getLogger(__name__)
_open: list["Level"] = []  # the outermost first


class Level:
    """Some of `total` done, `initial` of it before this process began; a context manager."""

    def __init__(self, label: str, total: float, unit: str, initial: float = 0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.n = self.initial = initial
        self.entered = False  # whether another level was open within since the last step
        self.added = ""
        self._bar: Any = None

    def __enter__(self) -> "Level":
        with ExitStack() as held:
            seen = sys.stderr is not None and sys.stderr.isatty()
            terminal = seen and find_spec("tqdm") is not None
            if not _open:
                held.enter_context(_above_the_bars() if terminal else _lines(EVERY))
            if terminal:
                self._bar = held.enter_context(_tqdm(self))
            self._held = held.pop_all()
        for level in _open:
            level.entered = True
        _open.append(self)
        self._started = time.perf_counter()
        return self

    def __exit__(self, *raised: object) -> None:
        if self in _open:  # and whatever an exception left open within
            del _open[_open.index(self) :]
        self._held.close()

    def step(self, amount: float = 1, *, free: bool = False) -> None:
        """So much more is done; what was `free` says nothing of the time that the rest takes."""
        self.n += amount
        self.entered = False
        if free:
            self.initial += amount
        if self._bar is not None:
            self._bar.initial = self.initial
            self._bar.update(amount)

    def add(self, text: str) -> None:
        """What else the line says, at its end."""
        self.added = text
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    @property
    def left(self) -> float | None:
        """Seconds until the end at the rate so far; None before anything is done."""
        mine = self.n - self.initial
        spent = time.perf_counter() - self._started
        return spent * (self.total - self.n) / mine if mine > 0 else None

    def __str__(self) -> str:
        left = self.left
        time_left = "" if left is None else f", {_clock(left)} left"
        added = f"; {self.added}" if self.added else ""
        return f"{self.label} {self.n:g}/{self.total:g} {self.unit}{time_left}{added}"


def bar(
    items: Iterable[T], total: int, label: str, unit: str = "batches", initial: int = 0
) -> Iterator[T]:
    """The items that are left after `initial` of `total`, as a level of their own."""
    with Level(label, total, unit, initial) as level:
        for item in items:
            yield item
            level.step()


def finished() -> None:
    """One item of the innermost level; free, if nothing was under way within it."""
    if _open:
        _open[-1].step(free=not _open[-1].entered)


def line() -> str:
    """Every level, the outermost first."""
    return " | ".join(map(str, list(_open)))


def _clock(seconds: float) -> str:
    """mm:ss, from an hour on h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


@contextmanager
def _lines(every: float) -> Iterator[None]:
    """A line now and then, whatever the work is busy with."""
    stop = Event()

    def tell() -> None:
        while not stop.wait(every):
            log.info("%s", line())

    thread = Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _above_the_bars() -> Iterator[None]:
    from tqdm.contrib.logging import logging_redirect_tqdm

    with logging_redirect_tqdm():
        for handler in logging.root.handlers:
            output.watch(handler)
        yield


def _tqdm(level: Level) -> Any:
    from tqdm import tqdm

    return tqdm(
        desc=level.label,
        total=level.total,
        initial=level.initial,
        unit=f" {level.unit}",
        leave=False,
        dynamic_ncols=True,
        smoothing=0,
    )

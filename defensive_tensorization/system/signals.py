"""SIGTERM and Ctrl-C: the batch under way ends, is saved, and then the program does.

Where batches follow one another (`at_batches`) a first signal is only noted, for the loop to ask
after; elsewhere nothing is half done, and it ends the program as it comes. From then on signals
have the system's own effect: a second one kills at once, and costs no more than `kill -9`.
A scheduler sends several in a row and kills after a grace, so in its jobs later ones do nothing.
"""

import signal
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
UNTOUCHED = (signal.SIG_DFL, signal.default_int_handler)

_noted: signal.Signals | None = None
_patient = False
_loops = 0


class Stopped(BaseException):
    """The program was asked to stop, and `saved` says what it will go on from."""

    def __init__(self, by: signal.Signals, saved: str = "nothing was under way") -> None:
        self.by, self.saved = by, saved
        name = "Ctrl-C" if by is signal.SIGINT else by.name
        super().__init__(f"stopped by {name}: {saved}; the same command goes on from there")

    @property
    def code(self) -> int:
        """What a shell calls the end by this signal: 130 or 143."""
        return 128 + self.by


@contextmanager
def listening(also: Collection[signal.Signals] = (), *, patient: bool = False) -> Iterator[None]:
    """Takes the two signals in the main thread, where nobody else has taken or ignores them.

    Args:
        also: signals to take whoever handles them; they are handed back in the end.
        patient: whether later signals do nothing, instead of killing at once.
    """
    global _noted, _patient
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = {each: signal.getsignal(each) for each in (*SIGNALS, *also)}
    taken = {each: old for each, old in asked.items() if each in also or old in UNTOUCHED}
    if taken:
        _patient = patient
    for each in taken:
        signal.signal(each, _note)
    try:
        yield
    finally:
        for each, old in taken.items():
            signal.signal(each, old)
        if taken:
            _noted = None


def _note(number: int, frame: FrameType | None) -> None:
    global _noted
    for each in signal.valid_signals():
        if signal.getsignal(each) is _note:
            signal.signal(each, _ignore if _patient else signal.SIG_DFL)
    _noted = signal.Signals(number)
    if not _loops:
        raise Stopped(_noted)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Unlike SIG_IGN, of which Python complains where two signals come at about the same time."""


def ask(by: signal.Signals) -> None:
    """As if the program had got this signal; from another thread, the next batch ends it."""
    global _noted
    if threading.current_thread() is threading.main_thread():
        _note(by, None)
    else:
        _noted = by


@contextmanager
def at_batches() -> Iterator[None]:
    """Inside, a signal waits for `stop` to be called, at the latest until the block has ended."""
    global _loops
    _loops += 1
    try:
        yield
    finally:
        _loops -= 1
    if not _loops:
        stop("all that was under way is saved")


def noted() -> bool:
    """Whether the program is asked to stop."""
    return _noted is not None


def stop(saved: str) -> None:
    """Raises Stopped if the program is asked to stop; `saved` says what was done before."""
    if _noted is not None:
        raise Stopped(_noted, saved)

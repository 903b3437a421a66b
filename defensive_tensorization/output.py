"""Standard output that nobody reads any more: `... | head -1`, or a terminal that is gone.

The program ends as by SIGPIPE, without a word: what is under way is saved first, as by SIGTERM.
"""

import errno
import logging
import os
import select
import signal
import sys
from typing import TextIO

from . import stopping

GONE = (errno.EPIPE, errno.EIO, errno.ENXIO)
CODE = 128 + signal.SIGPIPE


def unread(error: BaseException) -> bool:
    """Whether a write failed because standard output or standard error has no reader."""
    if not (isinstance(error, OSError) and error.errno in GONE):
        return False
    return any(_broken(stream) for stream in (sys.stdout, sys.stderr))


def silence() -> None:
    """Nothing is written from here on, what is buffered neither, so that the end is quiet."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and _broken(stream):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def watch(handler: logging.Handler) -> logging.Handler:
    """A handler that asks the program to stop where its stream has no reader any more."""
    otherwise = handler.handleError

    def failed(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if error is not None and unread(error):
            silence()
            stopping.ask(signal.SIGPIPE)
        else:
            otherwise(record)

    handler.handleError = failed  # type: ignore[method-assign]
    return handler


def log(level: int) -> None:
    """Messages as they are, on standard output."""
    handler = watch(logging.StreamHandler(sys.stdout))
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler])


def flush() -> None:
    """Now rather than at exit, where nobody could catch the error of a closed pipe."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _broken(stream: TextIO | None) -> bool:
    """Whether the other end of a pipe, or a terminal, is gone; a failed write says it only once."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)  # type: ignore[union-attr]
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):
        return False

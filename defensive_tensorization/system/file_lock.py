"""One process at a time, by a lock of the operating system: it ends with the process that holds it.

The lock is `flock` on a file that stays behind. On a shared file system it holds between machines
where the server supports it (NFS 4, Lustre with -o flock); where there is no flock at all, filelock
falls back to a file that exists, with a warning.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


@contextmanager
def alone(path: Path, doing: str, patience: float = 5.0) -> Iterator[None]:
    """Waits for the process that holds the lock at `path`, and says so if it holds it for long.

    patience  seconds in which a neighbour that only reads what is there has left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        log.info("another process is %s: waiting for it", doing)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()

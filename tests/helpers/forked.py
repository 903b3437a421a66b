"""A command in a fork of this process, which has imported everything: a process without its start.

It has descriptors, signals, a folder and an exit code of its own. What the start itself does
(imports, threads, what a shell sees) needs a process of its own.
"""

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import torch


@dataclass(frozen=True)
class Forked:
    pid: int
    out: IO[bytes]
    err: IO[bytes]

    def printed(self) -> str:
        """Standard output, so far."""
        return _content(self.out)

    def wait_for(self, pattern: str) -> None:
        """Until it has printed this."""
        while not re.search(pattern, self.printed()):
            over = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            assert over is None, self.printed()
            time.sleep(0.01)

    def ended(self) -> tuple[int, str, str]:
        """Exit code (a signal's number below 0), standard output and standard error."""
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status), self.printed(), _content(self.err)


def _content(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


def forked(program: Callable[[], object], words: Sequence[str], folder: Path) -> Forked:
    """Start a program with these words of a command line in folder."""
    out, err = TemporaryFile(), TemporaryFile()  # noqa: SIM115 (they outlive this block)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = _child(program, words, folder, out, err)
        finally:
            os._exit(code)
    return Forked(pid, out, err)


def _child(
    program: Callable[[], object], words: Sequence[str], folder: Path, *files: IO[bytes]
) -> int:
    """The exit code."""
    for number, file in enumerate(files, 1):
        os.dup2(file.fileno(), number)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)  # OpenMP's other threads are not in a fork
    logging.root.handlers.clear()  # pytest's
    os.chdir(folder)
    sys.argv = ["defensive_tensorization", *words]
    code = 1
    try:
        program()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    return code

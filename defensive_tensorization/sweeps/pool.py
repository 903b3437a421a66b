"""A sweep's jobs in processes of this machine, by joblib: each writes its own log."""

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher

from ..errors import UsageError
from ..system import signals
from .board import DONE, FAILED, RUNNING, Board

GRACE = 30.0  # seconds that jobs have to save and end
RUNS = ".pid"  # a file beside the log of a job that runs: its process


class Pool(JoblibLauncher):  # type: ignore[misc]  # untyped
    """Hydra's launcher; its keys are those of joblib.Parallel."""

    board: Board

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs, n_jobs at a time, and return what each came to, in order."""
        from hydra.core.singleton import Singleton
        from hydra_plugins.hydra_joblib_launcher._core import process_joblib_cfg
        from joblib import Parallel, delayed

        setup_globals()
        assert self.config is not None
        options = dict(self.joblib)
        process_joblib_cfg(options)
        options |= {"backend": "loky", "return_as": "generator_unordered"}
        parallel = Parallel(**options)
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        folder = Path(self.config.hydra.sweep.dir) / ".joblib" / stamp
        folder.mkdir(parents=True, exist_ok=True)
        jobs = dict(enumerate(job_overrides, initial_job_idx))
        logs = {number: folder / f"{number}.log" for number in jobs}
        self.board.launch(initial_job_idx, job_overrides)
        for number, words in jobs.items():
            self.board.names(number, words, logs[number])
        state = Singleton.get_state()
        context = self.hydra_context, self.config, self.task_function, state
        calls = (
            delayed(_logged)(os.getpid(), logs[number], number, words, *context)
            for number, words in jobs.items()
        )
        found: dict[int, JobReturn] = {}
        at_a_time = parallel._effective_n_jobs()
        outcomes = parallel(calls)
        try:
            self._running(jobs, found, at_a_time)
            for number, result in outcomes if at_a_time == 1 else _elsewhere(outcomes):
                found[number] = result
                failed = result.status is not JobStatus.COMPLETED
                why = f"{result._return_value}; log {logs[number]}" if failed else ""
                self.board.now(number, FAILED if failed else DONE, why)
                self._running(jobs, found, at_a_time)
        except signals.Stopped as stop:
            if at_a_time == 1:
                raise  # the job was in this process, and has said what it saved
            raise signals.Stopped(stop.by, _leave(folder)) from None
        return [found[number] for number in jobs]

    def _running(
        self, jobs: dict[int, Sequence[str]], found: dict[int, JobReturn], at_a_time: int
    ) -> None:
        """Jobs begin in order, so the first that have not ended are those that run."""
        for number in [n for n in jobs if n not in found][:at_a_time]:
            self.board.now(number, RUNNING)


def _elsewhere(outcomes: Iterable[Any]) -> Iterator[Any]:
    """The same, waited for by another thread: joblib kills its processes at once where a signal
    interrupts it."""
    ended: Queue[Any] = Queue()

    def wait() -> None:
        try:
            for each in outcomes:
                ended.put((each, None))
            ended.put((None, None))
        except BaseException as error:
            ended.put((None, error))

    Thread(target=wait, name="pool", daemon=True).start()
    while True:
        outcome, error = ended.get()
        if error is not None:
            raise error
        if outcome is None:
            return
        yield outcome


def _logged(launching: int, log: Path, number: int, words: Sequence[str], *context: Any) -> Any:
    """The job's number and outcome, its output in `log`. With n_jobs=1 joblib starts no process."""
    from hydra_plugins.hydra_joblib_launcher._core import execute_job

    here = os.getpid() == launching
    mark = log.with_suffix(RUNS)
    if not here:
        mark.write_text(str(os.getpid()))
    try:
        with _output_to(log, here=here):
            return number, execute_job(number, words, *context)
    except SystemExit:
        if here:
            raise
        stopped = UsageError("the job was stopped")  # an exit would make joblib kill the others
        return number, JobReturn(list(words), status=JobStatus.FAILED, _return_value=stopped)
    finally:
        mark.unlink(missing_ok=True)


def _leave(folder: Path) -> str:
    """joblib kills its processes at once: let them save and end before it does."""
    marks = list(folder.glob(f"*{RUNS}"))
    for mark in marks:
        with suppress(OSError, ValueError):  # it may have ended by now
            os.kill(int(mark.read_text()), signal.SIGTERM)
    until = time.monotonic() + GRACE
    while time.monotonic() < until and any(mark.exists() for mark in marks):
        time.sleep(0.1)
    return f"{len(marks)} jobs here were told to save and end"


@contextmanager
def _output_to(log: Path, *, here: bool) -> Iterator[None]:
    """What this process and its libraries print goes to a file; nothing changes where `here`."""
    if here:
        yield
        return
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        for standard in (1, 2):
            os.dup2(file.fileno(), standard)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for standard, old in zip((1, 2), kept, strict=True):
            os.dup2(old, standard)
            os.close(old)

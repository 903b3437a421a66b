"""A sweep's jobs by submitit: on Slurm, or in processes of this machine that it controls."""

import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher

from ..errors import UsageError
from ..system import signals
from . import slurm
from .board import DONE, FAILED, RUNNING, Board

log = logging.getLogger(__name__)

ONCE_BUILT = ("submitit_folder", "max_num_timeout")  # what an executor is built with
PATIENCE = 15.0  # seconds in which a job's result may come to light on a shared file system
GRACE = 30.0  # seconds that jobs here have to save and end

Call = tuple[Any, ...]
States = Mapping[str, tuple[str, str]]
"""Of a job's id: its state (board.py; `gone` of one that has ended), and why."""


class Submitted(BaseSubmititLauncher):  # type: ignore[misc]  # untyped
    """Hydra's launcher, which shows the jobs by state and names each that fails when all ended."""

    board: Board

    def __getstate__(self) -> dict[str, Any]:
        """What goes along with a job."""
        return {name: value for name, value in vars(self).items() if name != "board"}

    def submit(self, executor: Any, calls: Sequence[Call]) -> list[Any]:
        """Hand the jobs in."""
        jobs: list[Any] = executor.map_array(self, *zip(*calls, strict=True))
        return jobs

    def states(self, jobs: Sequence[Any]) -> States:
        """The states of those that have no result yet."""
        raise NotImplementedError

    def restarts(self, job: Any) -> int:
        """How often a job was queued again, at the last look."""
        return 0

    def leave(self, jobs: Sequence[Any]) -> str:
        """The launching process is asked to stop: what becomes of these jobs."""
        raise NotImplementedError

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit the jobs, wait for all of them, and return what each came to, in order."""
        words = dict(enumerate(job_overrides, initial_job_idx))
        state = Singleton.get_state()
        calls = [
            (list(each), "hydra.sweep.dir", number, f"job_id_for_{number}", state)
            for number, each in words.items()
        ]
        submitted = dict(zip(words, self.submit(self._executor(), calls), strict=True))
        self.board.launch(initial_job_idx, job_overrides)
        for number, job in submitted.items():
            self.board.names(number, words[number], slurm.short(job.paths.stdout))
        found: dict[int, JobReturn] = {}
        try:
            self._wait(submitted, words, found)
        except signals.Stopped as stop:
            left = [job for number, job in submitted.items() if number not in found]
            raise signals.Stopped(stop.by, self.leave(left)) from None
        return [found[number] for number in submitted]

    def _executor(self) -> Any:
        import submitit

        shared = {each.name for each in fields(BaseQueueConf)}
        kind = self._EXECUTOR
        first = {f"{kind}_{k}": self.params[k] for k in ONCE_BUILT[1:] if k in self.params}
        built = submitit.AutoExecutor(self.params[ONCE_BUILT[0]], cluster=kind, **first)
        later = {k: v for k, v in self.params.items() if k not in ONCE_BUILT}
        built.update_parameters(
            **{k if k in shared else f"{kind}_{k}": v for k, v in later.items()}
        )
        return built

    def _wait(
        self,
        submitted: Mapping[int, Any],
        words: Mapping[int, Sequence[str]],
        found: dict[int, JobReturn],
    ) -> None:
        """Fill `found` until every job has ended; a job that leaves no result has failed."""
        gone: dict[int, float] = {}  # since when
        restarts = dict.fromkeys(submitted, 0)
        while left := {n: job for n, job in submitted.items() if n not in found}:
            states = self.states(list(left.values()))
            for number, job in left.items():
                state, why = states[job.job_id]
                if (count := self.restarts(job)) > restarts[number]:
                    restarts[number] = count
                    self.board.again(number)
                if state == "gone":
                    since = gone.setdefault(number, time.monotonic())
                    lost = time.monotonic() - since > PATIENCE
                else:
                    gone.pop(number, None)
                    lost = False
                if _has_result(job):
                    found[number] = result = _result(job, words[number])
                    failed = result.status is not JobStatus.COMPLETED
                    error = f"{result._return_value}; log {slurm.short(job.paths.stdout)}"
                    self.board.now(number, FAILED if failed else DONE, error if failed else "")
                elif lost:
                    error = _lost(job, why)
                    found[number] = _failure(words[number], UsageError(error))
                    self.board.now(number, FAILED, error)
                elif state != "gone":
                    self.board.now(number, state, why)
            time.sleep(1)


class Local(Submitted):
    """Processes of this machine."""

    _EXECUTOR = "local"

    def submit(self, executor: Any, calls: Sequence[Call]) -> list[Any]:
        """A terminal's Ctrl-C, which its every process gets, would leave them a second to end."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return super().submit(executor, calls)
        finally:
            signal.signal(signal.SIGINT, before)

    def states(self, jobs: Sequence[Any]) -> States:
        here = {job.job_id: job.get_info()["jobState"] for job in jobs}
        return {n: (RUNNING if s == "RUNNING" else "gone", s.lower()) for n, s in here.items()}

    def leave(self, jobs: Sequence[Any]) -> str:
        for job in jobs:
            with suppress(ProcessLookupError):
                os.kill(int(job.job_id), signal.SIGTERM)  # a job's id is its controller's
        until = time.monotonic() + GRACE
        while time.monotonic() < until and any(s == RUNNING for s, _ in self.states(jobs).values()):
            time.sleep(0.2)
        return f"{len(jobs)} jobs here were told to save and end"


class Slurm(Submitted):
    """Jobs of Slurm, asked after with squeue, which needs no accounting."""

    _EXECUTOR = "slurm"

    def submit(self, executor: Any, calls: Sequence[Call]) -> list[Any]:
        from submitit.core.utils import FailedJobError

        try:
            jobs = super().submit(executor, calls)
        except FailedJobError as error:
            raise slurm.refused(str(error), self.params) from error
        self._queue = slurm.Queue([job.job_id for job in jobs])
        self._warned = False
        return jobs

    def _executor(self) -> Any:
        slurm.needed()
        return super()._executor()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_queue"}

    def states(self, jobs: Sequence[Any]) -> States:
        known = self._queue.states()
        if not self._warned and (line := slurm.hopeless(known, self.params)):
            log.warning("%s", line)
            self._warned = True
        return {job.job_id: known.get(job.job_id, ("gone", "")) for job in jobs}

    def restarts(self, job: Any) -> int:
        return self._queue.restarts.get(job.job_id, 0)

    def leave(self, jobs: Sequence[Any]) -> str:
        ids = " ".join(sorted({job.job_id.partition("_")[0] for job in jobs}))
        return f"{len(jobs)} jobs are left to Slurm, which runs them on (scancel {ids} ends them)"


def _has_result(job: Any) -> bool:
    folder = job.paths.folder
    with suppress(OSError):
        folder.chmod(folder.stat().st_mode)  # a network's file system then looks again
    return bool(job.paths.result_pickle.exists())


def _result(job: Any, words: Sequence[str]) -> JobReturn:
    """What the job returned; where it died outside Hydra's run of it, a failure that says so."""
    from submitit.core.utils import UncompletedJobError

    try:
        result: JobReturn = job.results()[0]
        return result
    except UncompletedJobError as error:
        lines = [line for line in str(error).splitlines() if line.strip("- ")]
        told = [line for line in lines if ":" in line and not line[:1].isspace()]
        what = told[-2] if len(told) > 1 else lines[-1]
        return _failure(words, UsageError(f"job {job.job_id} died: {what}"))


def _lost(job: Any, why: str) -> str:
    ended = f"ended without a result{f' ({why})' if why else ''}"
    return f"job {job.job_id} {ended}: read {slurm.short(job.paths.stdout)}"


def _failure(words: Sequence[str], error: Exception) -> JobReturn:
    return JobReturn(overrides=list(words), status=JobStatus.FAILED, _return_value=error)

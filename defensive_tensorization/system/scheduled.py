"""A run as a job of Slurm or submitit: the signals they send, and whether it is queued again."""

import logging
import os
import re
import signal
import subprocess

from .signals import Stopped

log = logging.getLogger(__name__)


def by_slurm() -> bool:
    """Whether this process belongs to a job of Slurm."""
    return "SLURM_JOB_ID" in os.environ


def restarts() -> int:
    """How often Slurm has queued this job again."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def signals() -> tuple[signal.Signals, ...]:
    """Those that submitit handles in its jobs: it lets SIGTERM pass, and queues again on the other,
    which comes before a time limit and on preemption. () outside its jobs."""
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return ()
    name = os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")
    return signal.SIGTERM, signal.Signals[f"SIG{name}"]


def tell() -> None:
    """Say in the log that this job was queued again."""
    if count := restarts():
        times = "" if count == 1 else f", {count} times"
        log.info("queued again by Slurm%s: what was saved is not made anew", times)


def told(stop: Stopped) -> str:
    """The line that a stopped run ends with: who goes on with it."""
    if not by_slurm():
        return str(stop)
    if stop.by in (signal.SIGTERM, signal.SIGINT) and not _queued_again():
        return str(stop)
    return f"stopped by {stop.by.name}: {stop.saved}; Slurm queues the job again, it goes on there"


def _queued_again() -> bool:
    """Whether Slurm ends this job to start it anew: it has counted that restart already."""
    command = ["scontrol", "show", "job", _number()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return False
    count = re.search(r"\bRestarts=(\d+)", done.stdout)
    return count is not None and int(count[1]) > restarts()


def _number() -> str:
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]

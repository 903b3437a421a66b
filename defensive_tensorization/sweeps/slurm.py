"""Slurm as a sweep needs it: the states of jobs, and its refusals in one line."""

import logging
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .board import RUNNING, WAITING

log = logging.getLogger(__name__)

OFTEN, SELDOM = 2.0, 30.0  # seconds between two calls of squeue: at first, and of a long sweep
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT")
_ENDED = (
    *("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "DEADLINE"),
    *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL"),
)

_COLUMNS = "JobArrayID:40,State:24,RestartCnt:8,Reason:100"

_REMEDIES = (  # what Slurm says, and the settings that decide it
    (r"gres|gpu", ("gpus_per_node",)),
    (r"partition", ("partition",)),
    (r"[Mm]emory", ("mem_gb",)),
    (r"CPU count", ("cpus_per_task",)),
    (r"node configuration", ("gpus_per_node", "cpus_per_task", "mem_gb")),
    (r"time limit", ("timeout_min",)),
    (r"account", ("account",)),
    (r"qos|QOS", ("qos",)),
    (r"feature", ("constraint",)),
    (r"[Nn]ode count", ("nodes",)),
)
_NEVER = ("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints")
_ASKED = (
    *("partition", "gpus_per_node", "cpus_per_task", "mem_gb", "nodes", "timeout_min"),
    *("account", "qos", "constraint"),
)


def needed() -> None:
    """Raise UsageError where Slurm's commands are not."""
    if absent := [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]:
        raise UsageError(
            f"hydra/launcher=submitit_slurm needs Slurm, but {', '.join(absent)} cannot be found: "
            "start it on a machine of the cluster, or take hydra/launcher=joblib"
        )


def refused(printed: str, params: Mapping[str, Any]) -> UsageError:
    """What was asked, what sbatch answered, and the settings that help.

    Args:
        printed: what sbatch printed, among other lines.
        params: hydra.launcher, as the jobs were to be submitted.
    """
    lines = [line.strip() for line in printed.splitlines()]
    said = [line.removeprefix("sbatch: error: ") for line in lines if "error:" in line.lower()]
    last = next((line for line in reversed(lines) if line), "nothing")
    answer = "; ".join(dict.fromkeys(said)) or last
    answer = answer.replace("Batch job submission failed: ", "")
    keys = next((keys for pattern, keys in _REMEDIES if re.search(pattern, answer)), ())
    given = [f"hydra.launcher.{key}=..." for key in keys]
    without = ", or device=cpu" if "gpus_per_node" in keys and params.get("gpus_per_node") else ""
    remedy = f"change {' '.join(given)}{without}" if given else "see hydra.launcher.*"
    return UsageError(
        f"Slurm refused the jobs ({_asked(params)}): {answer}: {remedy} (sinfo says what is)"
    )


def _asked(params: Mapping[str, Any]) -> str:
    return " ".join(f"{k}={params[k]}" for k in _ASKED if params.get(k) is not None)


def hopeless(states: Mapping[str, tuple[str, str]], params: Mapping[str, Any]) -> str:
    """A line about jobs that Slurm took and will not start as they are; "" if there is none."""
    for number, (state, why) in states.items():
        if state == WAITING and re.search(r"[Hh]eld", why):
            return f"Slurm holds job {number} ({why}): scontrol release {number} lets it start"
    found = {number: why for number, (state, why) in states.items() if why in _NEVER}
    if not found:
        return ""
    number = next(iter(found)).partition("_")[0]
    return (
        f"Slurm will not start job {number} as it is ({found.popitem()[1]}), asked for "
        f"{_asked(params)}: scancel {number}, then ask for what the partition has, such as "
        "hydra.launcher.cpus_per_task=1 (sinfo --long says what is)"
    )


class Queue:
    """The states of some jobs, as squeue tells them: without accounting, and not too often."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ",".join(sorted({each.partition("_")[0] for each in ids}))
        self._began = time.monotonic()
        self._asked = float("-inf")
        self._known: dict[str, tuple[str, str]] = {each: (WAITING, "") for each in ids}
        self._silent = False
        self.restarts: dict[str, int] = {}  # how often each job was queued again

    def states(self) -> dict[str, tuple[str, str]]:
        """Of each job that Slurm still knows: its state, and why it waits or how it ended."""
        now = time.monotonic()
        if now - self._asked < min(SELDOM, max(OFTEN, (now - self._began) / 20)):
            return self._known
        self._asked = now
        command = ["squeue", "--noheader", "--array", "--states=all", "--jobs", self._ids]
        done = subprocess.run([*command, f"--Format={_COLUMNS}"], capture_output=True, text=True)
        if done.returncode and "Invalid job id" not in done.stderr:
            if not self._silent:
                log.warning("squeue does not answer, asked again: %s", done.stderr.strip())
            self._silent = True
            return self._known
        self._silent = False
        self._known, restarts = read(done.stdout)
        self.restarts |= restarts
        return self._known


def read(printed: str) -> tuple[dict[str, tuple[str, str]], dict[str, int]]:
    """The states in squeue's lines (_COLUMNS), and how often each job was queued again."""
    found, restarts = {}, {}
    for line in printed.splitlines():
        number, state, count, reason = line.strip().split(maxsplit=3)
        restarts[number] = int(count)
        why = "" if reason in ("None", "") else reason
        if state in _ENDED:
            found[number] = ("gone", state if state != "COMPLETED" else "")
        else:
            found[number] = (WAITING, why) if state in _WAITING else (RUNNING, "")
    return found, restarts


def short(path: Path) -> Path:
    """Relative to where we are, if it lies there."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

"""`make wandb-sync`: what was recorded offline, sent to W&B; as often as one likes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import config as cfg
from .. import tracking
from ..errors import UsageError, in_one_line

SYNC = (sys.executable, "-m", "wandb", "sync")
LIMIT_S = 600.0
FRESH_S = 120  # a live run writes every few seconds: one that was silent for longer is over


@dataclass(frozen=True)
class Synced:
    """Directories of offline runs: sent now, left for another time, still being written."""

    sent: list[Path]
    left: list[Path]
    running: list[Path]


def sync(directory: Path, limit: float = LIMIT_S, command: Sequence[str] = SYNC) -> Synced:
    """Uploads the offline runs under `directory` that were not yet, for at most `limit` seconds.

    The oldest first and one by one, so that who made an artifact arrives before who used it. W&B
    marks a run once its server has taken all of it; one without the mark is sent again under its
    old identity, so what was cut short may be repeated. UsageError without a key.
    """
    logs = directory.glob("**/offline-run-*/run-*.wandb")
    runs = sorted((log.parent for log in logs), key=lambda run: run.name)
    waiting = [run for run in runs if not _marked(run)]
    running = [run for run in waiting if _running(run)]
    waiting = [run for run in waiting if run not in running]
    if waiting and not tracking.has_key():
        raise UsageError(
            f"{len(waiting)} of {len(runs)} offline runs wait under {directory}, and there is no "
            f"W&B key: {tracking.REMEDY}"
        )
    if waiting:
        print(f"uploading {len(waiting)} of {len(runs)} runs, for at most {limit:g} s")
    end = time.monotonic() + limit
    for run in waiting:
        _within(end - time.monotonic(), [*command, str(run)])
    sent = [run for run in waiting if _marked(run)]
    return Synced(sent, [run for run in waiting if run not in sent], running)


def _within(limit: float, words: Sequence[str]) -> None:
    """Runs the command quietly; past the limit it is ended, with whatever it started."""
    if limit <= 0:
        return
    with subprocess.Popen(
        words,
        env=os.environ | {"WANDB_SILENT": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _marked(run: Path) -> bool:
    return any(run.glob("run-*.wandb.synced"))


def _running(run: Path) -> bool:
    """Whether a process may still write to it: half a run would be marked as a whole one."""
    if (run / tracking.FINISHED).exists():
        return False
    (log,) = run.glob("run-*.wandb")
    return time.time() - log.stat().st_mtime < FRESH_S


def main(arguments: Sequence[str] | None = None) -> None:
    """python scripts/wandb_sync.py [--limit SECONDS] [paths.runs=DIRECTORY]"""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with in_one_line("paths.runs"):
        limit = LIMIT_S
        if "--limit" in given:
            at = given.index("--limit")
            limit = _seconds((given[at + 1 : at + 2] or [""])[0])
            del given[at : at + 2]
        directory = Path(cfg.composed(given).paths.runs) / "wandb"
        done = sync(directory, limit)
    print(f"{len(done.sent)} uploaded, {len(done.left)} left, {len(done.running)} still running")
    if done.left:
        print("error: not all were taken: run it again, it goes on with those", file=sys.stderr)
        sys.exit(1)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"--limit needs a number of seconds, such as --limit 600, got '{text}'")
    return value

"""One run in a folder of its own: started, killed and started again; and how two results differ.

Every process is the command line itself (`run.main`), forked from a server that has torch loaded,
so that moments fall into training and attacks rather than into imports. Linux.
"""

import json
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from defensive_tensorization import run
from defensive_tensorization.training import checkpoint
from defensive_tensorization.training.loop import Progress

EPOCHS = 2
SMALL = (
    *("model.width=4", "model.reference=32", "train.images=96", "eval.images=10"),
    *(
        "train.batch_size=32",
        f"train.epochs={EPOCHS}",
        "eval.runs=2",
        "eval.epsilon=[4]",
        "attack=[fgsm,pgd]",
    ),
    *("dataset.cache=../data", "paths.runs=runs", "paths.results=results"),
    *("device=cpu", "logger=none"),
)
ALONE = (*SMALL, "theta=0.9")
TABLE = ("-m", *SMALL, "theta=1,0.95,0.9")
ROWS = 6  # of a network: clean, FGSM and PGD under two seeds


def program(log: Path, overrides: tuple[str, ...]) -> None:
    """One process, with what it prints in `log`."""
    os.chdir(log.parent)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    sys.argv = ["defensive_tensorization", *overrides]
    try:
        run.main()
    finally:
        log.with_suffix(".cpu").write_text(str(time.process_time()))


class Life:
    """One folder, in which processes are started, killed, and started again."""

    def __init__(self, folder: Path, overrides: tuple[str, ...]) -> None:
        self.folder, self.overrides = folder, overrides
        self.logs: list[Path] = []
        folder.mkdir()

    def start(self) -> Any:
        self.logs.append(self.folder / f"log{len(self.logs):02}")
        self.logs[-1].touch()
        process = FORKS.Process(target=program, args=(self.logs[-1], self.overrides))
        process.start()
        return process

    @property
    def log(self) -> str:
        """What the last process has printed."""
        return self.logs[-1].read_text()

    @property
    def printed(self) -> str:
        """What all of them have."""
        return "".join(log.read_text() for log in self.logs)

    def files(self, pattern: str) -> list[Path]:
        return sorted((self.folder / "runs").glob(pattern))

    def rows(self) -> list[dict[str, Any]]:
        """The whole lines; the last may be torn."""
        lines = [f.read_bytes().split(b"\n")[:-1] for f in self.files("rows/*.jsonl")]
        return [json.loads(line) for each in lines for line in each]

    def phase(self) -> str:
        epochs = {}
        for path in self.files("checkpoints/*.pt"):
            # the loader that the next start uses: None for anything that is not whole
            state = checkpoint.load(path, stored(path)["fingerprint"])
            assert state is not None, f"{path} is not whole"
            epochs[re.findall(r"theta[\d.]+", path.name)[0]] = Progress(**state["progress"]).epoch
        for theta in ("theta1", "theta0.9"):
            if epochs.get(theta, 0) < EPOCHS:
                begun = re.search(rf"^training \S+-{theta}-", self.log, re.MULTILINE)
                return f"training {theta.replace('theta', 'theta = ')}" if begun else "starting up"
        return "attacks and scoring" if len(self.rows()) < ROWS else "after the last row"

    def result(self) -> dict[str, Any]:
        """Everything that an undisturbed run must have made alike."""
        made = {path.name: stored(path)["progress"] for path in self.files("checkpoints/*.pt")}
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in self.rows()]
        return {"checkpoints": made, "rows": rows}


FORKS = multiprocessing.get_context("forkserver")


def worked(pid: int) -> float:
    """Seconds of processor time; that of a process which has just ended is not known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def stored(path: Path) -> dict[str, Any]:
    return dict(torch.load(path, weights_only=True))


def differences(left: Any, right: Any, at: str = "") -> Iterator[str]:
    """Where two results differ, the times apart."""
    if isinstance(left, dict) and isinstance(right, dict):
        yield from (f"{at}.{key}" for key in left.keys() ^ right.keys())
        for key in left.keys() & right.keys() - {"seconds"}:
            yield from differences(left[key], right[key], f"{at}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for i, pair in enumerate(zip(left, right, strict=True)):
            yield from differences(*pair, f"{at}[{i}]")
    elif isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        if left.dtype != right.dtype or not torch.equal(left, right):
            yield at
    elif left != right:
        yield at

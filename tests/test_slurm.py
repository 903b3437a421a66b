"""Sweeps on a real Slurm of one node, this machine: what its commands and signals really do."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from defensive_tensorization.config import CONFIGS
from defensive_tensorization.results import store

ROOT = CONFIGS.parent
TINY = (
    *("model.width=4", "model.reference=32", "train.images=256", "eval.images=20", "attack=[fgsm]"),
    *("dataset.cache=digits", "paths.runs=runs", "device=cpu", "logger=none"),
    *("train.epochs=1", "train.lr_scale=0.1", "eval.runs=1", "eval.epsilon=[2]"),
)
ON_SLURM = ("-m", *TINY, "hydra/launcher=submitit_slurm")
LONG = 300.0  # seconds that anything may take on a busy machine


def told(*words: str) -> str:
    """What one of Slurm's commands prints."""
    return subprocess.run(words, capture_output=True, text=True, timeout=60).stdout.strip()


def absent() -> str:
    """Why there is nothing to try, "" where there is."""
    if any(shutil.which(name) is None for name in ("sbatch", "slurmctld", "slurmd")):
        return "Slurm is not installed (Debian: slurm-wlm and munge)"
    if (node := told("sinfo", "-h", "-N", "-o", "%n")) != socket.gethostname().split(".")[0]:
        return f"no running Slurm whose one node is this machine, but {node or 'none'}"
    return ""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _slurm() -> None:
    """Asked for when a test runs: a Slurm that does not answer takes ten seconds to say so."""
    if why := absent():
        pytest.skip(why)


@pytest.fixture(autouse=True)
def _clean_queue(_slurm: None) -> Iterator[None]:
    """No job of a test outlives it, and the node is up for the next one."""
    yield
    for sweep in Sweep.begun:
        if sweep.process.poll() is None:
            sweep.process.kill()
    Sweep.begun.clear()
    subprocess.run(["scancel", "--user=root"], check=False)
    node = told("sinfo", "-h", "-N", "-o", "%n")
    subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], capture_output=True)
    until(lambda: not told("squeue", "-h"), "the queue is empty")


def until(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < end, f"not after {LONG:g} s: {what}"
        time.sleep(0.2)


class Sweep:
    """`python -m defensive_tensorization` under way in a folder of its own."""

    begun: ClassVar[list["Sweep"]] = []

    def __init__(self, where: Path, *words: str, command: tuple[str, ...] = ()) -> None:
        where.mkdir(exist_ok=True)
        self.where = where
        more = {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
        entry = command or (sys.executable, "-m", "defensive_tensorization")
        with (where / "out").open("w") as out, (where / "err").open("w") as err:
            self.process = subprocess.Popen(
                [*entry, *words], cwd=where, env={**os.environ, **more}, stdout=out, stderr=err
            )
        self.begun.append(self)

    @property
    def out(self) -> str:
        return (self.where / "out").read_text()

    @property
    def error(self) -> str:
        return (self.where / "err").read_text()

    @property
    def log(self) -> str:
        """What the jobs printed."""
        found = sorted((self.where / "runs" / "multirun" / ".submitit").rglob("*_log.out"))
        return "".join(file.read_text() for file in found)

    def ends(self) -> int:
        return self.process.wait(LONG)

    def checkpoint(self, match: str = "*") -> bool:
        """Whether a training has saved an epoch."""
        assert self.process.poll() is None, self.error
        return any((self.where / "runs" / "checkpoints").glob(f"{match}.pt"))

    def job(self, number: int = 0) -> str:
        """Slurm's name of one of the jobs."""
        pattern = rf"^#{number} .* log \S+/(\d+(?:_\d+)?)_0_log\.out$"
        until(lambda: re.search(pattern, self.out, re.MULTILINE), f"job {number} is named")
        found = re.search(pattern, self.out, re.MULTILINE)
        assert found
        return found[1]

    def trainings(self) -> list[str]:
        return re.findall(r"^training (\S+), \d+ epochs$", self.log, re.MULTILINE)

    def rows(self) -> int:
        return len(store.read([self.where / "runs" / "rows"]))

    def weights(self) -> dict[str, torch.Tensor]:
        (file,) = (self.where / "runs" / "checkpoints").glob("*.pt")
        state: dict[str, dict[str, torch.Tensor]] = torch.load(file, weights_only=True)["progress"]
        return state["network"]


def again(job: str) -> None:
    """Slurm waits for two minutes before it starts a job that was queued again: do not."""
    until(lambda: state(job) == "PENDING", f"job {job} is queued again")
    told("scontrol", "update", f"jobid={job}", "starttime=now")


def state(job: str) -> str:
    return told("squeue", "-h", "-a", "--states=all", "-j", job, "-o", "%T")


def test_what_slurm_refuses_is_one_line(tmp_path: Path) -> None:
    words = [word for word in ON_SLURM if word != "device=cpu"]
    refused = Sweep(tmp_path, *words, "seed=0,1", "defence=none")
    assert refused.ends() == 2
    assert refused.error.splitlines()[-1] == (
        "error: Slurm refused the jobs (gpus_per_node=1 cpus_per_task=4 mem_gb=32 nodes=1 "
        "timeout_min=480): Invalid generic resource (gres) specification: change "
        "hydra.launcher.gpus_per_node=..., or device=cpu (sinfo says what is)"
    )
    assert "Traceback" not in refused.error
    for key, value in (("partition", "none"), ("mem_gb", "100000")):
        asked = f"hydra.launcher.{key}={value}"
        refused = Sweep(tmp_path, *ON_SLURM, "seed=0,1", "defence=none", asked)
        assert refused.ends() == 2
        line = refused.error.splitlines()[-1]
        assert line.startswith("error: Slurm refused the jobs (") and f"{key}={value}" in line
        assert f"hydra.launcher.{key}=... (sinfo" in line


def test_what_slurm_takes_and_never_starts_is_said(tmp_path: Path) -> None:
    """Too many cores are no reason for it to refuse a job."""
    sweep = Sweep(tmp_path, *ON_SLURM, "defence=none", "hydra.launcher.cpus_per_task=1000")
    job = sweep.job()
    line = f"Slurm will not start job {job} as it is (PartitionConfig), asked for cpus_per_task=10"
    until(lambda: line in sweep.out, "it is said")


def test_a_sweep_runs_in_rounds(tmp_path: Path) -> None:
    """Bases first, each network once; accounting is not asked for, so nothing warns of it."""
    sweep = Sweep(tmp_path, *ON_SLURM, "theta=0.9,0.8")
    assert sweep.ends() == 0, sweep.error
    lines = [line for line in sweep.out.splitlines() if not line.startswith("adhoc ")]
    at = r"  log runs/multirun/\.submitit/(\S+)/\1_0_log\.out"
    expected = ["round 1 of 2", f"#0 theta=0.9 stage=bases{at}", "round 2 of 2"]
    expected += [f"#1 theta=0.9{at}", f"#2 theta=0.8{at}"]
    assert len(lines) == len(expected)
    assert all(re.fullmatch(e, line) for e, line in zip(expected, lines, strict=True)), lines
    assert sweep.error == ""
    found = sweep.trainings()
    assert len(found) == len(set(found)) == 3
    assert "waiting for it" not in sweep.log
    assert sweep.rows() == 4


def test_a_job_queued_again_has_the_undisturbed_runs_weights(tmp_path: Path) -> None:
    """SIGTERM is saved within the grace, in mid-epoch; the run says that it was queued again."""
    words = ("theta=0.9", "train.init=scratch", "train.epochs=12")
    sweep = Sweep(tmp_path / "sweep", *ON_SLURM, *words)
    job = sweep.job()
    until(sweep.checkpoint, "an epoch is saved")
    told("scontrol", "requeue", job)
    again(job)
    assert sweep.ends() == 0, sweep.error
    text = sweep.log
    pattern = r"stopped by SIGTERM: \S+ is saved at epoch \d+, batch [12] of 2; Slurm queues the"
    assert len(re.findall(pattern, text)) == 1, text
    assert "queued again by Slurm: what was saved is not made anew" in text
    assert "#0 is queued again" in sweep.out
    assert len(sweep.trainings()) == 2 and sweep.error == ""
    undisturbed = Sweep(tmp_path / "undisturbed", *TINY, *words)
    assert undisturbed.ends() == 0
    mine, theirs = sweep.weights(), undisturbed.weights()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_a_time_limit_a_ctrl_c_and_a_cancel(tmp_path: Path) -> None:
    """Before the limit the job saves and queues itself again; Ctrl-C leaves it running."""
    words = ("theta=1", "train.epochs=100000", "hydra.launcher.signal_delay_s=20")
    sweep = Sweep(tmp_path, *ON_SLURM, *words)
    job = sweep.job()
    until(sweep.checkpoint, "an epoch is saved")
    told("scontrol", "update", f"jobid={job}", "timelimit=1")  # it has run for part of it
    again(job)
    told("scontrol", "update", f"jobid={job}", "timelimit=480")
    pattern = r"stopped by SIGUSR2: \S+ is saved at epoch (\d+), batch [12] of 2; Slurm queues the"
    saved = re.findall(pattern, sweep.log)
    assert len(saved) == 1
    until(lambda: len(sweep.trainings()) == 2, "the job runs again")
    until(lambda: f"epoch {int(saved[0])} " in sweep.log.split("queued again by Slurm: ")[1], "on")
    assert not re.search(r" epoch 1 ", sweep.log.split("queued again by Slurm: ")[1])

    sweep.process.send_signal(signal.SIGINT)
    assert sweep.ends() == 130
    assert sweep.error.splitlines()[-1] == (
        f"stopped by Ctrl-C: 1 jobs are left to Slurm, which runs them on (scancel {job} ends "
        "them); the same command goes on from there"
    )
    assert state(job) == "RUNNING"
    told("scancel", job)
    until(lambda: state(job) == "CANCELLED", "cancelled")
    until(lambda: "stopped by SIGTERM" in sweep.log, "it saved")
    assert re.search(r"stopped by SIGTERM: .*; the same command goes on from there", sweep.log)
    assert "race condition" not in sweep.log


def test_a_cancelled_job_goes_on_by_the_same_command(tmp_path: Path) -> None:
    """It is named when the other has ended, and only it is left to do."""
    words = ("seed=0,1", "theta=1", "train.epochs=12")
    sweep = Sweep(tmp_path, *ON_SLURM, *words)
    job = sweep.job(1)
    until(lambda: sweep.checkpoint("*-seed1-*"), "an epoch is saved")
    told("scancel", job)
    assert sweep.ends() == 2
    lines = sweep.error.splitlines()
    assert lines[-2].startswith("Error executing job with overrides: ") and "seed=1" in lines[-2]
    assert re.fullmatch(
        rf"error: job {job} ended without a result \(CANCELLED\): read \S+/{job}_0_log\.out",
        lines[-1],
    )
    assert sweep.rows() == 2
    first = sweep.trainings()
    second = Sweep(tmp_path, *ON_SLURM, *words)
    assert second.ends() == 0, second.error
    assert second.rows() == 4
    assert sorted(second.trainings()) == sorted([*first, next(x for x in first if "seed1" in x)])


def test_a_failed_job_is_named_and_the_others_finish(tmp_path: Path) -> None:
    words = ("theta=1", "train.optimizer.lr=1e30,0.1")
    sweep = Sweep(tmp_path, *ON_SLURM, *words)
    assert sweep.ends() == 2
    first, second = sweep.error.splitlines()[-2:]
    assert first.startswith("Error executing job with overrides: ") and "lr=1e+30" in first
    assert second.startswith("error: the training ")
    assert re.search(r"^#0 failed: the training .*; log \S+_0_log\.out$", sweep.out, re.MULTILINE)
    assert sweep.rows() == 2


def test_a_node_that_disappears_and_comes_back(tmp_path: Path) -> None:
    node = told("sinfo", "-h", "-N", "-o", "%n")
    sweep = Sweep(tmp_path, *ON_SLURM, "theta=1", "train.epochs=12")
    job = sweep.job()
    until(sweep.checkpoint, "an epoch is saved")
    told("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    until(lambda: state(job) == "PENDING", "queued again")
    until(lambda: "#0 is queued again" in sweep.out, "it is said")
    assert sweep.process.poll() is None
    until(lambda: "stopped by SIGTERM" in sweep.log, "it saved")
    told("scontrol", "update", f"nodename={node}", "state=resume")
    # Slurm waits two minutes: earlier, the node would refuse the job as running, and it is held.
    until(lambda: len(sweep.trainings()) == 2, "the job runs again")
    assert sweep.ends() == 0, sweep.error
    assert len(sweep.trainings()) == 2 and sweep.rows() == 2


def test_torchrun_inside_one_job(tmp_path: Path) -> None:
    """The command of docs/scaling.md: two processes train one network."""
    torchrun = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node=2 -m"
    command = ("srun", "--ntasks=1", "--cpus-per-task=2", *torchrun.split())
    words = ("defensive_tensorization", *TINY, "theta=1")
    run = Sweep(tmp_path, *words, command=command)
    assert run.ends() == 0, run.error
    assert len(re.findall(r"^training \S+, 1 epochs$", run.out, re.MULTILINE)) == 1
    assert run.rows() == 2

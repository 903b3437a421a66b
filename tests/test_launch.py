"""A sweep by Hydra's launchers, in real processes: joblib and submitit's local executor.

Of Slurm, the script that submitit hands to sbatch; test_slurm.py has a real one.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from defensive_tensorization.config import CONFIGS
from defensive_tensorization.results import store
from defensive_tensorization.system import cores

ROOT = CONFIGS.parent
HERE = Path(__file__).parent
ENTRY = [sys.executable, "-m", "defensive_tensorization"]
TINY = (
    *("model.width=4", "model.reference=32", "train.images=256", "eval.images=20", "attack=[fgsm]"),
    *("dataset.cache=digits", "paths.runs=runs", "device=cpu", "logger=none"),
    *("train.epochs=1", "train.lr_scale=0.1", "eval.runs=1", "eval.epsilon=[2]"),
)
SWEEP = ("-m", *TINY, "theta=0.9,0.8,0.7")


def environment(**more: str) -> dict[str, str]:
    path = f"{ROOT}{os.pathsep}{HERE}"
    quiet = {"WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    return {**os.environ, "PYTHONPATH": path, **quiet, **more}


def start(where: Path, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*ENTRY, *words], cwd=where, env=environment(**more), capture_output=True, text=True
    )


def log(where: Path, printed: str) -> str:
    """What all jobs printed, here or into their own files."""
    folder = where / "runs" / "multirun"
    files = sorted([*folder.rglob(".submitit/**/*_log.out"), *folder.rglob(".joblib/**/*.log")])
    return printed + "".join(file.read_text() for file in files)


def trainings(text: str) -> dict[str, int]:
    """How often each theta was trained."""
    return dict(Counter(re.findall(r"^training .*-theta([\d.]+)-.* epochs$", text, re.MULTILINE)))


def thetas(where: Path) -> list[float]:
    return sorted(row.theta for row in store.read([where / "runs" / "rows"]))


# --- the script that submitit hands to sbatch ---------------------------------------------------

ASKED = {
    *("array=0-2%2", "job-name=defensive_tensorization", "nodes=1", "ntasks-per-node=1"),
    *("cpus-per-task=4", "gpus-per-node=1", "mem=32GB"),
    *("open-mode=append", "partition=gpu", "requeue", "signal=USR2@120", "time=480"),
}


def slurm(where: Path) -> dict[str, str]:
    """An environment where sbatch keeps the script that it gets, and refuses it."""
    folder = where / "slurm"
    folder.mkdir()
    answer = "sbatch: error: Batch job submission failed: Invalid partition name specified"
    for name in ("sbatch", "srun", "squeue"):
        command = folder / name
        command.write_text(f'#!/bin/sh\ncp "$1" {folder}/script\necho "{answer}" >&2\nexit 1\n')
        command.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_the_script_for_slurm(tmp_path: Path) -> None:
    """Submitted, not run: an array of the cells, queued again when preempted or out of time."""
    launcher = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu")
    two = "hydra.launcher.array_parallelism=2"
    words = [word for word in TINY if word != "device=cpu"]
    sweep = ("-m", *words, "seed=0,1,2", "defence=none", *launcher, two)
    done = start(tmp_path, *sweep, **slurm(tmp_path))
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: Slurm refused the jobs (partition=gpu ")
    assert line.endswith(
        "): Invalid partition name specified: change hydra.launcher.partition=... "
        "(sinfo says what is)"
    )
    lines = (tmp_path / "slurm" / "script").read_text().splitlines()
    said = {line[len("#SBATCH --") :] for line in lines if line.startswith("#SBATCH")}
    hidden = ("output=", "error=", "wckey=")  # which hold paths
    assert {each for each in said if not each.startswith(hidden)} == ASKED
    (command,) = [line for line in lines if line.startswith("srun ")]
    assert " -u -m submitit.core._submit " in command


# --- whole sweeps -------------------------------------------------------------------------------

ROUNDS = [
    *("round 1 of 2", "#0 theta=0.9 stage=bases", "round 2 of 2"),
    *("#1 theta=0.9", "#2 theta=0.8", "#3 theta=0.7"),
]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_each_network_is_trained_once_and_nobody_waits(launcher: str, tmp_path: Path) -> None:
    """The base has a round of its own; no job of the next finds its lock taken."""
    done = start(tmp_path, *SWEEP, f"hydra/launcher={launcher}", OMP_NUM_THREADS="7")
    assert done.returncode == 0, done.stderr
    text = log(tmp_path, done.stdout)
    assert trainings(text) == {"1": 1, "0.9": 1, "0.8": 1, "0.7": 1}
    lines = [line for line in done.stdout.splitlines() if not line.startswith("adhoc ")]
    said = [line.partition("  log ") for line in lines]
    assert [what for what, _, _ in said] == ROUNDS
    assert all("-theta" in (tmp_path / file).read_text() for _, _, file in said if file)
    assert "waiting for it" not in text
    assert thetas(tmp_path) == [0.7] * 2 + [0.8] * 2 + [0.9] * 2
    again = start(tmp_path, *SWEEP, f"hydra/launcher={launcher}")
    assert again.returncode == 0
    assert trainings(log(tmp_path, again.stdout)) == trainings(text)
    assert len(thetas(tmp_path)) == 6


@pytest.mark.slow
@pytest.mark.skipif(cores.available() < 2, reason="one core runs one job at a time")
def test_an_experiment_s_jobs_run_at_the_same_time_with_the_rows_of_one_by_one(
    tmp_path: Path,
) -> None:
    small = [word for word in TINY if not word.startswith(("train.epochs", "attack="))]
    words = ("experiment=quickstart", *small, "eval.batch_size=20", "eval.draws=2")
    found = {}
    for name, chosen in (("together", ()), ("in turn", ("hydra/launcher=basic",))):
        folder = tmp_path / name
        folder.mkdir()
        done = start(folder, *words, *chosen, "scale.epochs=2", OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
        assert ("round 1 of" in done.stdout) == (name == "together")
        rows = store.read([folder / "runs" / "rows"])
        found[name] = sorted(
            (r.run_id, r.attack, r.weights, r.clean_accuracy, r.robust_accuracy) for r in rows
        )
    assert found["together"] == found["in turn"] and len(found["in turn"]) == 8


@pytest.mark.slow
def test_jobs_have_their_threads_whatever_the_shell_says(tmp_path: Path) -> None:
    (tmp_path / "digits_and_threads.py").write_text(
        "import pathlib, torch\n"
        "from defensive_tensorization.data import digits\n"
        "def load(**options):\n"
        "    pathlib.Path('threads').write_text(str(torch.get_num_threads()))\n"
        "    return digits.load(**options)\n"
    )
    path = f"{ROOT}{os.pathsep}{HERE}{os.pathsep}{tmp_path}"
    target = "dataset._target_=digits_and_threads.load"
    words = (*TINY, target, "theta=1", "stage=all", "-m", "seed=0", "hydra/launcher=joblib")
    for threads in ("1", "2"):
        done = start(
            tmp_path,
            *words,
            f"hydra.job.env_set.OMP_NUM_THREADS={threads}",
            PYTHONPATH=path,
            OMP_NUM_THREADS="7",
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "threads").read_text() == threads


@pytest.mark.slow
def test_a_job_that_fails_is_named_when_the_others_have_ended(tmp_path: Path) -> None:
    words = ("-m", *TINY, "theta=1", "train.optimizer.lr=1e30,0.1", "hydra/launcher=joblib")
    done = start(tmp_path, *words)
    assert done.returncode == 2
    first, second = done.stderr.splitlines()[-2:]
    assert first.startswith("Error executing job with overrides: ") and "lr=1e+30" in first
    assert second.startswith("error: the training ")
    assert thetas(tmp_path) == [1.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_on_ctrl_c_the_jobs_here_save_and_end(launcher: str, tmp_path: Path) -> None:
    """As in a terminal, where every process of the group gets the signal."""
    words = ("-m", *TINY, "theta=1", "seed=0,1", "train.epochs=1000", f"hydra/launcher={launcher}")
    process = subprocess.Popen(
        [*ENTRY, *words],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(list(tmp_path.glob("runs/checkpoints/*.pt"))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.splitlines()[-1] == (
        "stopped by Ctrl-C: 2 jobs here were told to save and end; "
        "the same command goes on from there"
    )
    saved = re.findall(r"^stopped by \S+: \S+ is saved at ", log(tmp_path, ""), re.MULTILINE)
    assert len(saved) == 2, out


# --- torchrun -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_make_the_rows_of_one(tmp_path: Path) -> None:
    """Rows made by torchrun equal those that one process makes of the same weights."""
    words = [*TINY, "theta=0.9", "attack=[fgsm,pgd]", "eval.runs=3", "train.epochs=2"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    port = "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"
    done = subprocess.run(
        [*torchrun, *port, "-m", "defensive_tensorization", *words],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert trainings(done.stdout) == {"1": 1, "0.9": 1}
    made = store.read([tmp_path / "runs" / "rows"])
    for file in (tmp_path / "runs" / "rows").glob("*.jsonl"):
        file.unlink()
    alone = start(tmp_path, *words)
    assert trainings(alone.stdout) == {}, "another identity, or a checkpoint that is not whole"
    same = ("key", "clean_accuracy", "robust_accuracy", "weights", "trained_commit")
    told = [{name: getattr(row, name) for name in same} for row in made]
    assert told == [
        {name: getattr(row, name) for name in same}
        for row in store.read([tmp_path / "runs" / "rows"])
    ]
    assert len(told) == 3 * 3

    other = tmp_path / "alone"
    other.mkdir()
    start(other, *words)
    mine, theirs = (
        torch.load(next(each.glob("runs/checkpoints/*-theta0.9-*.pt")), weights_only=True)
        for each in (tmp_path, other)
    )
    assert mine["fingerprint"] == theirs["fingerprint"]
    # Their weights are compared in test_distributed. This network is 4 channels wide: one process
    # in float32 differs as much from itself in float64, a gradient by half after one step.


@pytest.mark.slow
def test_what_one_process_refuses_is_said_once(tmp_path: Path) -> None:
    words = [*TINY, "theta=1", "train.batch_size=33"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "defensive_tensorization", *words],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    text = "error: a batch of 33 has no 2 equal shares: take a train.batch_size that the number"
    assert done.returncode == 1 and done.stderr.count(text) == 1

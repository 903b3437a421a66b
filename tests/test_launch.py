"""A sweep by Hydra's launchers, in real processes: joblib, submitit's local executor, and Slurm's.

Slurm is played by fake_slurm.py: it keeps the script that submitit hands in, and runs it.
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

from defensive_tensorization import store
from defensive_tensorization.config import CONFIGS

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
    """What all jobs printed, here or into submitit's files."""
    files = sorted((where / "runs" / "multirun" / ".submitit").rglob("*_log.out"))
    return printed + "".join(file.read_text() for file in files)


def trainings(text: str) -> dict[str, int]:
    """How often each theta was trained."""
    return dict(Counter(re.findall(r"^training .*-theta([\d.]+)-.* epochs$", text, re.MULTILINE)))


def thetas(where: Path) -> list[float]:
    return sorted(row.theta for row in store.read([where / "runs" / "rows"]))


# --- the script that submitit hands to sbatch ---------------------------------------------------

RECORDED = """\
#SBATCH --array=0-2%2
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=1
#SBATCH --job-name=defensive_tensorization
#SBATCH --mem=32GB
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=480"""


def slurm(where: Path) -> dict[str, str]:
    """An environment in which fake_slurm.py answers to the names of Slurm's commands."""
    folder = where / "slurm"
    folder.mkdir()
    for name in ("sbatch", "srun", "sacct", "scontrol"):
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE}/fake_slurm.py {name} "$@"\n')
        command.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(folder)}


def test_the_script_for_slurm(tmp_path: Path) -> None:
    """Submitted, not run: an array of the cells, queued again when preempted or out of time."""
    launcher = ("hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu")
    two = "hydra.launcher.array_parallelism=2"
    sweep = ("-m", *TINY, "seed=0,1,2", "defence=none", *launcher, two)
    done = start(tmp_path, *sweep, **slurm(tmp_path), FAKE_SLURM_HOLDS="1")
    assert "held by fake_slurm.py" in done.stderr
    (script,) = (tmp_path / "slurm").glob("*.sbatch")
    lines = script.read_text().splitlines()
    said = [line for line in lines if re.match(r"#SBATCH --(?!output|error|wckey)", line)]
    assert "\n".join(said) == RECORDED
    (command,) = [line for line in lines if line.startswith("srun ")]
    assert " -u -m submitit.core._submit " in command

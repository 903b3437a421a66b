"""The scripts of examples/, at toy size."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from defensive_tensorization.commands.release_networks import release
from defensive_tensorization.config import CONFIGS, composed
from defensive_tensorization.run import run

ROOT = CONFIGS.parent
SCRIPTS = ROOT / "examples"
TOY = ("model.width=2", "train.epochs=1", "eval.images=6", "eval.runs=1", "device=cpu")


def ran(where: Path, script: str, *words: str) -> str:
    """Standard output of a script that must succeed, silent on standard error."""
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *words],
        cwd=where,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_script_is_run_here() -> None:
    source = Path(__file__).read_text()
    for script in SCRIPTS.glob("*.py"):
        assert f'"{script.name}"' in source, script.name


@pytest.mark.slow
def test_tensorize_torchvision(tmp_path: Path) -> None:
    told = ran(tmp_path, "tensorize_torchvision.py", "--steps", "2", "--theta", "0.8")
    dense, same = (line.split()[-1] for line in told.splitlines()[:2])
    assert abs(float(dense[:-1]) - float(same[:-1])) < 0.5  # the same function at theta = 1
    assert "theta = 0.8, fine-tuned" in told and told.splitlines()[-1].count("%") == 5


@pytest.mark.slow
def test_train_on_your_images(tmp_path: Path) -> None:
    told = ran(tmp_path, "train_on_your_images.py", *TOY, "train.images=64")
    assert "own_images-resnet18-real-theta0.9" in told and "pgd 8" in told


@pytest.mark.slow
def test_theta_sweep(tmp_path: Path) -> None:
    more = ("theta=1,0.9", "train.images=64", "model.reference=16")
    told = ran(tmp_path, "theta_sweep.py", *TOY, *more)
    assert "theta clean pgd 2 pgd 8" in " ".join(told.split())
    (figure,) = (tmp_path / "runs" / "theta").glob("*.png")
    assert f"wrote {figure.relative_to(tmp_path)}" in told


@pytest.mark.slow
def test_audit_a_defence(tmp_path: Path) -> None:
    told = ran(tmp_path, "audit_a_defence.py", "--steps", "20", "--images", "6", "--budget", "2")
    assert "NoisyNet" in told and "45" in told


@pytest.mark.slow
def test_load_and_attack(tmp_path: Path) -> None:
    folders = [f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path / 'results'}"]
    run(composed([*TOY, *folders, "theta=1", "train.images=64", "attack=[]", "logger=none"]), "")
    release([*folders, "scale=smoke"])
    network = tmp_path / "results" / "smoke" / "networks" / "digits-resnet18-w2" / "theta-1"
    told = ran(tmp_path, "load_and_attack.py", str(network), "--images", "6", "--steps", "2")
    assert "clean accuracy" in told and "eot_pgd" in told and "it was trained on" not in told

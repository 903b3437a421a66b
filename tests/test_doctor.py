"""The report of what the machine has: one screen, true, and nothing secret."""

import platform
from importlib import metadata
from pathlib import Path

import pytest
import torch
from helpers.forked import forked

from defensive_tensorization import cli
from defensive_tensorization.commands import doctor
from defensive_tensorization.system import provenance

SECRET = "0123456789abcdef0123456789abcdef01234567"


def told(where: Path) -> dict[str, str]:
    code, output, error = forked(cli.main, ["doctor"], where).ended()
    assert (code, error) == (0, "")
    lines = output.splitlines()
    assert len(lines) <= 24 and max(map(len, lines)) <= 160
    return {line[:12].strip(): line[12:] for line in lines}


def test_one_screen_says_what_there_is_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = {"WANDB_API_KEY": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "WANDB_MODE": "offline"}
    for name, value in (secret | {"OMP_NUM_THREADS": "1"}).items():
        monkeypatch.setenv(name, value)
    found = told(tmp_path)
    text = "\n".join(found.values())
    assert SECRET not in text and str(Path.home()) not in text and str(tmp_path) not in text
    assert platform.node() not in text or not platform.node()
    assert platform.python_version() in found["python"]
    for name in ("torch", "numpy", "tensorly"):
        assert f"{name} {metadata.version(name)}" in found["core"]
    assert f"foolbox {metadata.version('foolbox')}" in found["attacks"]
    assert found["threads"] == "1 of torch, OMP_NUM_THREADS 1"
    assert found["W&B"] == "offline, a key is there"
    assert found["data"].endswith("digits (of scikit-learn)")
    assert f"joblib {metadata.version('hydra-joblib-launcher')}" in found["launchers"]
    assert ("none" in found["GPU"]) is not torch.cuda.is_available()


def test_packed_data_is_found_by_name(tmp_path: Path) -> None:
    cache = tmp_path / "runs" / "cache"
    cache.mkdir(parents=True)
    (cache / "cifar10-0123abcd.pt").write_bytes(b"0" * (3 << 20))
    found = dict(doctor.report(tmp_path / "runs"))
    assert found["data"].startswith("cifar10 (3 MiB packed), ")


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = provenance.version
    gone = {"hydra-core", "foolbox", "scikit-learn"}
    absent = provenance.ABSENT
    monkeypatch.setattr(provenance, "version", lambda name: absent if name in gone else real(name))
    found = dict(doctor.report(tmp_path))
    assert found["attacks"].startswith("foolbox not installed, pyautoattack ")
    assert found["experiments"].startswith("hydra-core not installed")
    assert found["data"] == "none found"


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no /proc/cpuinfo")
def test_instructions_are_the_processor_s_own() -> None:
    words = Path("/proc/cpuinfo").read_text().split()
    assert doctor.instructions() == [each for each in doctor.INSTRUCTIONS if each in words]


def test_a_mode_that_cannot_be_is_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = {"HOME": str(tmp_path), "WANDB_API_KEY": "", "NETRC": str(tmp_path / "none")}
    for name, value in (home | {"WANDB_MODE": "online"}).items():
        monkeypatch.setenv(name, value)
    found = dict(doctor.report(tmp_path))
    assert "needs a W&B key" in found["W&B"] and found["W&B"].endswith("no key there")

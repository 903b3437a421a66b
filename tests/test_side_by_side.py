"""When the jobs of an experiment run at the same time without being told to."""

from dataclasses import replace
from pathlib import Path

import pytest

from defensive_tensorization.config import Config, composed
from defensive_tensorization.sweeps import side_by_side
from defensive_tensorization.system import cores, memory, processor

SPACIOUS = "MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n"  # 64 and 32 GiB


@pytest.fixture(scope="module")
def one() -> Config:
    return composed(["dataset=digits", "device=cpu"])


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Four cores, 32 GiB free, no GPU."""
    monkeypatch.setattr(cores, "available", lambda: 4)
    monkeypatch.setattr(processor, "on_gpu", lambda device: device == "cuda")
    monkeypatch.delenv("RANK", raising=False)
    (tmp_path / "meminfo").write_text(SPACIOUS)
    monkeypatch.setattr(memory.free_and_total, "__defaults__", (tmp_path / "meminfo",))
    return tmp_path / "meminfo"


def of(words: list[str]) -> dict[str, str]:
    return dict(word.split("=") for word in words)


@pytest.mark.parametrize(
    ("jobs", "at_once", "threads"), [(2, 2, 2), (3, 3, 1), (4, 4, 1), (9, 4, 1)]
)
def test_as_many_jobs_as_cores_share_the_cores(
    jobs: int, at_once: int, threads: int, one: Config, machine: Path
) -> None:
    assert of(side_by_side([], [one] * jobs)) == {
        "hydra/launcher": "joblib",
        "hydra.launcher.n_jobs": str(at_once),
        "hydra.job.env_set.OMP_NUM_THREADS": str(threads),
    }


@pytest.mark.parametrize(("free", "at_once"), [(12, 4), (7, 2), (5, None)])
def test_memory_bounds_the_jobs(free: int, at_once: int | None, one: Config, machine: Path) -> None:
    machine.write_text(f"MemTotal: 99999999 kB\nMemAvailable: {free * 1024**2} kB\n")
    found = of(side_by_side([], [one] * 8)).get("hydra.launcher.n_jobs")
    assert found == (None if at_once is None else str(at_once))


@pytest.mark.parametrize(
    "word",
    ["hydra/launcher=basic", "hydra/launcher=submitit_slurm", "hydra.launcher.n_jobs=3"],
)
def test_a_launcher_that_was_chosen_stays(word: str, one: Config, machine: Path) -> None:
    assert side_by_side(["theta=1", word], [one] * 3) == []


def test_jobs_of_a_gpu_run_one_by_one(one: Config, machine: Path) -> None:
    assert side_by_side([], [replace(one, device="cuda")] * 3) == []


def test_processes_of_torchrun_run_their_jobs_one_by_one(
    one: Config, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    assert side_by_side([], [one] * 3) == []


def test_one_core_or_one_job_runs_alone(
    one: Config, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert side_by_side([], [one]) == []
    monkeypatch.setattr(cores, "available", lambda: 1)
    assert side_by_side([], [one] * 3) == []


def test_a_system_that_does_not_tell_its_memory_runs_them_one_by_one(
    one: Config, machine: Path
) -> None:
    machine.unlink()
    assert side_by_side([], [one] * 3) == []

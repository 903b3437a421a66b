"""How the program ends: storage that fails, signals, kills; and the same seed twice."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.full_disk import full_disk

from defensive_tensorization import run
from defensive_tensorization.config import CONFIGS, Config, composed
from defensive_tensorization.config.schema import PathsConfig
from defensive_tensorization.results import store

ROOT = CONFIGS.parent
TINY = (
    *("model.width=2", "model.reference=8", "train.images=32", "train.batch_size=16"),
    *("train.epochs=2", "eval.images=8", "eval.runs=1", "eval.epsilon=[4]", "attack=[fgsm]"),
    *("dataset.cache=null", "paths.runs=runs", "device=cpu", "logger=none"),
)


@pytest.fixture(scope="module")
def config() -> Config:
    return composed([*TINY, "theta=1"])


def ended(config: Config, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and standard error of the command, once its words are read."""
    with pytest.raises(SystemExit) as caught, run._ended_in_one_line():
        run.run(config, "test")
    code = caught.value.code
    assert isinstance(code, int)
    return code, capsys.readouterr().err


@pytest.mark.parametrize("place", ["runs", "runs/checkpoints", "runs/rows"])
def test_a_file_in_the_place_of_a_folder(
    place: str,
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("mine")
    code, error = ended(config, capsys)
    assert code == 2
    assert re.fullmatch(
        rf"error: {place}\S* cannot be written \((File exists|Not a directory)\): make room or "
        "name a writable folder with paths.runs; what was finished is kept, the same command goes "
        "on from it\n",
        error,
    )
    assert (tmp_path / place).read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir(mode=0o500)
    code, error = ended(config, capsys)
    assert code == 2 and "runs/checkpoints cannot be written (Permission denied): " in error


def test_a_full_disk_then_room_again(
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with full_disk(20_000):
        code, error = ended(config, capsys)
    assert code == 2
    assert re.match(r"error: runs/checkpoints/\S+\.pt cannot be written \(File too large\)", error)
    assert list(tmp_path.glob("runs/checkpoints/*.p*t")) == []
    run.run(config, "test")
    assert len(store.read([tmp_path / "runs" / "rows"])) == 2


def test_the_same_seed_gives_the_same_rows_and_another_gives_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = composed([*TINY, "theta=0.9"])
    found = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        run.run(replace(config, seed=seed, paths=PathsConfig(runs=folder, results="")), "test")
        rows = store.read([tmp_path / folder / "rows"])
        found.append([{**vars(row), "seconds": 0} for row in rows])
    assert found[0] == found[1] and len(found[0]) == 2
    assert {row["weights"] for row in found[0]}.isdisjoint(row["weights"] for row in found[2])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_with_its_code(number: signal.Signals, tmp_path: Path) -> None:
    """`python -m defensive_tensorization` itself; what it goes on with is in survive.py."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "defensive_tensorization", *TINY, "train.epochs=500"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    next(line for line in process.stdout if " epoch 1 " in line)
    process.send_signal(number)
    _, error = process.communicate()
    assert process.returncode == 128 + number
    assert re.fullmatch(
        r"stopped by (SIGTERM|Ctrl-C): \S+-theta1-\S+ is saved at epoch \d+, batch [12] of 2; "
        "the same command goes on from there\n",
        error,
    )


@pytest.mark.slow
def test_kills_stops_and_neighbours(tmp_path: Path) -> None:
    """The script in short; it asserts what it reports."""
    counts = ["--kills", "4", "--aimed", "1", "--stops", "2", "--neighbours", "3"]
    page = tmp_path / "page.md"
    page.write_text("before <!-- survive.py -->\nold\n<!-- /survive.py --> after")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "survive.py"), *counts, "--write", str(page)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.startswith("before <!-- survive.py -->\nCommit ")
    assert text.endswith("<!-- /survive.py --> after") and "old" not in text
    assert "| `kill -9`, any moment | 4 (" in text and "18 rows, each once" in text

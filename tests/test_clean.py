"""Deleting says what, asks, and passes over what a process holds locked."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from helpers.fake_panels import panel
from helpers.fake_rows import row

from defensive_tensorization.commands import clean as cleaning
from defensive_tensorization.commands.clean import clean
from defensive_tensorization.errors import UsageError
from defensive_tensorization.results import landscape_panels, store

HOLD = (
    "import sys, filelock\n"
    "with filelock.FileLock(sys.argv[1]):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()"
)


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """By another process."""
    words = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout and other.stdout.readline() == "held\n"
        yield
        other.communicate("")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, a W&B run, packed data, and a person's own file."""
    runs = tmp_path / "runs"
    for name in ("cifar10-a-seed0-12345678", "digits-b-seed0-87654321"):
        (runs / "checkpoints").mkdir(parents=True, exist_ok=True)
        (runs / "checkpoints" / f"{name}.pt").write_bytes(bytes(2000))
        (runs / "checkpoints" / f"{name}.pt.lock").touch()
        store.append(runs / "rows" / f"{name}.jsonl", row(run_id=name, fingerprint=name[-8:]))
    for file in ("cache/digits.pt", "wandb/offline-run-1/run.wandb", "train.log"):
        (runs / file).parent.mkdir(parents=True, exist_ok=True)
        (runs / file).write_bytes(bytes(500))
    return runs


def left(runs: Path) -> set[str]:
    files = {str(path.relative_to(runs)) for path in runs.rglob("*") if path.is_file()}
    return {file for file in files if not file.endswith(".lock")}


A = {"checkpoints/cifar10-a-seed0-12345678.pt", "rows/cifar10-a-seed0-12345678.jsonl"}
B = {"checkpoints/digits-b-seed0-87654321.pt", "rows/digits-b-seed0-87654321.jsonl"}
WANDB = {"wandb/offline-run-1/run.wandb"}
KEPT = {"cache/digits.pt", "train.log"}


def test_told_yes_it_deletes_runs_and_nothing_else(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sum((runs / file).stat().st_size for file in (*A, *B) if file.startswith("rows"))
    total = f"{(4000 + 500 + rows) / 1000:.0f} kB"
    assert clean(runs, tmp_path / "results", [], True) == f"deleted {total}"
    assert left(runs) == KEPT
    said = capsys.readouterr().out
    assert f"to be deleted in {runs}, {total}:" in said
    assert "checkpoints         2   4 kB  cifar10-a-seed0-12345678.pt, digits-b" in said
    assert "2 rows among it are not in" in said
    assert clean(runs, tmp_path / "results", [], True) == f"nothing to delete in {runs}"
    assert clean(tmp_path / "none", tmp_path, [], True).startswith("nothing to delete")


def test_panels_and_audits_that_lie_nowhere_else_are_told(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A figure's file keeps a panel; nothing keeps an audit, and a damaged file holds none."""
    one, two = panel(draws=1), panel(draws=20)
    landscape_panels.save(runs / "landscapes" / "a.npz", [one, two])
    landscape_panels.save(tmp_path / "results" / "cpu" / "figure2.npz", [one])
    (runs / "landscapes" / "b.npz").write_bytes(b"no panels")
    (runs / "audits").mkdir()
    (runs / "audits" / "a.json").write_text("{}")
    clean(runs, tmp_path / "results", [], True)
    said = capsys.readouterr().out
    assert "2 rows and 1 panels and 1 audits among it are not in" in said
    assert "render their table or figure first to keep them" in said


def test_words_choose(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store.collect(runs / "rows", tmp_path / "results" / "cpu" / "rows", lambda row: True)
    clean(runs, tmp_path / "results", ["digits"], True)
    assert left(runs) == KEPT | A | WANDB
    assert "every row among it is in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lock", "kept"),
    [
        ("checkpoints/cifar10-a-seed0-12345678.pt.lock", A | WANDB),
        ("rows/digits-b-seed0-87654321.jsonl.0badcafe.lock", B | WANDB),
        ("rows/.collect.lock", A | B | WANDB),
    ],
)
def test_what_a_process_holds_locked_stays(
    runs: Path, lock: str, kept: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(runs / lock):
        clean(runs, tmp_path, [], True)
    assert left(runs) == KEPT | kept
    assert f"kept, as a process works there: {sorted(kept)[0]}" in capsys.readouterr().out


def test_without_a_terminal_it_refuses_and_with_one_it_asks(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError) as caught:
        clean(runs, tmp_path, [], False)
    assert str(caught.value) == (
        "nothing was deleted, there is no terminal to ask at: say yes with "
        "make clean-runs ARGS=--yes"
    )
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer in ("", "n", "no", "delete"):
        monkeypatch.setattr("builtins.input", lambda prompt, answer=answer: answer)
        assert clean(runs, tmp_path, [], False) == "nothing was deleted"
    assert left(runs) == KEPT | A | B | WANDB

    def late(prompt: str) -> str:  # a run that starts while a person thinks
        assert prompt.startswith("Delete ") and prompt.endswith("? [y/N] ")
        stack.enter_context(held(runs / "checkpoints" / "digits-b-seed0-87654321.pt.lock"))
        return "y"

    monkeypatch.setattr("builtins.input", late)
    with ExitStack() as stack:
        clean(runs, tmp_path, [], False)
    assert left(runs) == KEPT | B | WANDB


def test_a_folder_that_is_no_runs_folder_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").touch()
    monkeypatch.setattr(sys, "argv", ["clean_runs.py", "--yes", f"paths.runs={tmp_path}"])
    with pytest.raises(SystemExit) as caught:
        cleaning.main()
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path} holds no checkpoints and no rows: name a")
    assert (tmp_path / "letters" / "a.txt").exists()

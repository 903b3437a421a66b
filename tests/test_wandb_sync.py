"""`make wandb-sync`: which runs are sent, once, in which order, within which time."""

import os
import sys
import time
from pathlib import Path

import pytest
from helpers.fake_wandb import KEY, serving

from defensive_tensorization import tracking
from defensive_tensorization.commands import wandb_sync
from defensive_tensorization.errors import UsageError

TAKES = "import pathlib, sys; d = pathlib.Path(sys.argv[1]); {}"
MARKS = TAKES.format("f = next(d.glob('run-*.wandb')); f.with_suffix('.wandb.synced').touch()")
NOTES = "; open(d.parent / 'order', 'a').write(d.name + ' ')"


def offline(where: Path, name: str, *, age: float = 0.0, finished: bool = True) -> Path:
    run = where / "wandb" / f"offline-run-{name}"
    run.mkdir(parents=True)
    log = run / f"run-{name}.wandb"
    log.write_text("log")
    os.utime(log, (time.time() - age,) * 2)
    if finished:
        (run / tracking.FINISHED).touch()
    return run


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)


@pytest.mark.usefixtures("key")
def test_each_run_is_sent_once_and_the_oldest_first(tmp_path: Path) -> None:
    runs = [offline(tmp_path, name) for name in ("20260102-b", "20260101-c", "20260103-a")]
    first, second, third = sorted(runs)
    command = (sys.executable, "-c", MARKS + NOTES)
    assert wandb_sync.sync(tmp_path, 60, command).sent == [first, second, third]
    assert wandb_sync.sync(tmp_path, 60, command) == wandb_sync.Synced([], [], [])
    new = offline(tmp_path, "20260104-d")
    assert wandb_sync.sync(tmp_path, 60, command).sent == [new]
    assert (tmp_path / "wandb" / "order").read_text().split() == [
        run.name for run in (first, second, third, new)
    ]


@pytest.mark.usefixtures("key")
def test_a_live_run_waits_and_a_killed_one_does_not(tmp_path: Path) -> None:
    live = offline(tmp_path, "live", finished=False)
    killed = offline(tmp_path, "killed", finished=False, age=wandb_sync.FRESH_S + 60)
    done = wandb_sync.sync(tmp_path, 60, (sys.executable, "-c", MARKS))
    assert done == wandb_sync.Synced([killed], [], [live])


@pytest.mark.usefixtures("key")
def test_a_server_that_hangs_costs_no_more_than_the_limit(tmp_path: Path) -> None:
    runs = [offline(tmp_path, name) for name in ("a", "b", "c")]
    pid = tmp_path / "pid"
    hangs = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    started = time.monotonic()
    assert wandb_sync.sync(tmp_path, 0.5, (sys.executable, "-c", hangs)).left == runs
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.usefixtures("key")
def test_a_run_that_was_not_taken_is_left(tmp_path: Path) -> None:
    runs = [offline(tmp_path, "a"), offline(tmp_path, "b")]
    refuses = TAKES.format("sys.exit(1)")
    assert wandb_sync.sync(tmp_path, 60, (sys.executable, "-c", refuses)).left == runs


def test_without_a_key_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert wandb_sync.sync(tmp_path, 60, ("absent",)) == wandb_sync.Synced([], [], [])
    offline(tmp_path, "a")
    with pytest.raises(UsageError, match="1 of 1 offline runs wait under .* no W&B key: run `wan"):
        wandb_sync.sync(tmp_path, 60, ("absent",))


@pytest.mark.usefixtures("key")
def test_main_counts_and_fails_where_something_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    answers = [wandb_sync.Synced([tmp_path], [], []), wandb_sync.Synced([], [tmp_path], [tmp_path])]

    def sync(directory: Path, limit: float) -> wandb_sync.Synced:
        asked.append((directory, limit))
        return answers.pop(0)

    monkeypatch.setattr(wandb_sync, "sync", sync)
    wandb_sync.main(["--limit", "7", f"paths.runs={tmp_path}"])
    assert asked == [(tmp_path / "wandb", 7.0)]
    assert capsys.readouterr().out == "1 uploaded, 0 left, 0 still running\n"
    with pytest.raises(SystemExit) as caught:
        wandb_sync.main([])
    assert caught.value.code == 1
    assert asked[1] == (Path("runs/wandb"), wandb_sync.LIMIT_S)
    printed = capsys.readouterr()
    assert printed.out == "0 uploaded, 1 left, 1 still running\n" and "run it again" in printed.err


@pytest.mark.parametrize("words", [["--limit"], ["--limit", "soon"], ["--limit", "-1"]])
def test_a_limit_that_is_none_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        wandb_sync.main(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: --limit needs a number of seconds")


@pytest.mark.slow
@pytest.mark.usefixtures("key")
def test_what_a_server_gets_of_two_runs_joined_by_an_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "weights.pt").write_bytes(b"weights")
    weights = tracking.Item("net-checkpoint", "checkpoint", {}, (tmp_path / "weights.pt",), True)
    for job in ("train", "eval"):
        with tracking.start(
            mode="offline", project="p", dir=tmp_path / "runs", name=job, group="g", job_type=job,
            tags=[], config={},
        ) as run:  # fmt: skip
            run.log({"loss": 0.25}, at=1)
            (run.made if job == "train" else run.used)(weights)
        time.sleep(1.1)  # W&B names the folders by the second
    monkeypatch.setenv("WANDB_MODE", "online")
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        sent = wandb_sync.sync(tmp_path / "runs", 120).sent
        assert len(sent) == 2
        assert wandb_sync.sync(tmp_path / "runs", 120) == wandb_sync.Synced([], [], [])
    train, evaluation = (run.name.rpartition("-")[2] for run in sent)
    created = [v["input"] for v in server.of("CreateArtifact")]
    assert [each["runName"] for each in created] == [train, None]  # its maker, and no second one
    assert created[0]["digest"] == created[1]["digest"]
    (use,) = (v["input"] for v in server.of("UseArtifact"))
    assert (use["runName"], use["artifactID"]) == (
        evaluation,
        f"net-checkpoint@{created[0]['digest']}",
    )
    assert any(b"0.25" in body for path, body in server.streamed if train in path)

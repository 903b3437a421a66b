import base64
import hashlib
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.fake_wandb import KEY, serving
from helpers.wandb_log import logged
from PIL import Image

from defensive_tensorization import tracking
from defensive_tensorization.errors import UsageError


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")


@pytest.fixture
def no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def start(directory: Path, mode: str = "offline", artifacts: str = "reference") -> tracking.Run:
    return tracking.start(
        mode=mode,
        project="defensive-tensorization",
        dir=directory,
        name="digits-theta0.9",
        group="quickstart",
        job_type="eval",
        tags=["digits", "smoke"],
        config={"theta": 0.9, "train": {"epochs": 3}},
        artifacts=artifacts,
    )


def read_back(run_directory: str) -> dict[str, Any]:
    """By W&B's own reader, once the log has its end, which W&B may write after `finish`."""
    logged(run_directory)
    words = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", run_directory]
    return json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)


@pytest.mark.usefixtures("offline")
def test_an_offline_run_reads_back_with_everything_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with start(tmp_path / "wandb-here") as run:
        for epoch in (1, 2, 3):
            run.log({"loss": 1 / epoch}, at=epoch)
        run.table("table1", ["model", "accuracy"], [["dense", 0.5], ["ours", 0.75]])
        Image.new("RGB", (3, 2)).save(tmp_path / "figure.png")
        run.image("figure", lambda: tmp_path / "figure.png")
        soundfile.write(tmp_path / "clip.wav", np.zeros(800), 16_000)
        run.audio("clip", tmp_path / "clip.wav", "yes -> no")
        run.summary({"clean_accuracy": 0.75})
    assert capfd.readouterr() == ("", "")

    assert run.path is not None
    assert Path(run.path).is_relative_to(tmp_path / "wandb-here")
    found = read_back(run.path)
    assert found["state"] == "finished"
    assert found["name"] == "digits-theta0.9"
    assert found["tags"] == ["digits", "smoke"]
    assert found["config"] == {"theta": 0.9, "train": {"epochs": 3}}
    assert found["summary"]["clean_accuracy"] == 0.75
    assert found["summary"]["epoch"] == 3
    assert found["summary"]["loss"] == pytest.approx(1 / 3)
    assert (found["summary"]["figure"]["width"], found["summary"]["figure"]["height"]) == (3, 2)
    sound = found["summary"]["clip"]
    assert sound["caption"] == "yes -> no"
    assert soundfile.info(Path(run.path) / "files" / sound["path"]).frames == 800
    table = json.loads((Path(run.path) / "files" / found["summary"]["table1"]["path"]).read_text())
    assert table == {"columns": ["model", "accuracy"], "data": [["dense", 0.5], ["ours", 0.75]]}


@pytest.mark.usefixtures("offline")
def test_a_failure_in_the_middle_is_one_warning_and_no_more_calls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    class Broken:
        offline, dir, summary = True, str(tmp_path / "files"), {}

        def log(self, point: object) -> None:
            calls.append(point)
            raise ConnectionError("Connection lost\nConsider this or that")

        def finish(self, exit_code: int) -> None:
            calls.append(exit_code)

    monkeypatch.setattr(tracking.run, "_init", lambda *_: Broken())
    with caplog.at_level(logging.WARNING), start(tmp_path) as run:
        run.log({"loss": 1.0}, at=1)
        run.log({"loss": 0.5}, at=2)
        run.table("t", ["a"], [[1]])
        run.image("figure", lambda: calls.append("drawn"))
        run.summary({"clean_accuracy": 0.5})
    assert calls == [{"loss": 1.0, "epoch": 1}, 1]  # finished as failed
    assert [record.getMessage() for record in caplog.records] == [
        "W&B stopped recording this run (Connection lost); the rows are not affected"
    ]


@pytest.mark.usefixtures("offline")
def test_without_wandb_installed_the_work_goes_on_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking.run, "_failed", set())
    monkeypatch.setitem(sys.modules, "wandb", None)
    for _ in range(3):
        with caplog.at_level(logging.WARNING), start(tmp_path) as run:
            run.log({"loss": 1.0}, at=1)
            run.made(tracking.Item("x", "rows"))
        assert run.path is None
    assert [record.getMessage() for record in caplog.records] == [
        "W&B cannot be started (import of wandb halted; None in sys.modules): nothing is recorded "
        "there by this process; the rows are not affected"
    ]


def test_a_failing_run_is_finished_as_failed_and_its_error_is_not_swallowed(tmp_path: Path) -> None:
    codes = []

    class Recorder:
        offline, dir = True, str(tmp_path / "files")

        def finish(self, exit_code: int) -> None:
            codes.append(exit_code)

    with pytest.raises(ZeroDivisionError), tracking.Run(Recorder()):
        raise ZeroDivisionError
    assert codes == [1]
    assert (tmp_path / tracking.FINISHED).exists()


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("kind", ["none", "reference", "upload"])
def test_artifacts_hold_large_files_by_digest_unless_all_are_uploaded(
    kind: str, tmp_path: Path
) -> None:
    weights, rows = tmp_path / "net.pt", tmp_path / "net.jsonl"
    weights.write_bytes(b"weights")
    rows.write_text("{}\n")
    items = [
        tracking.Item("data-1", "dataset", {"digest": "d", "train": 3}),
        tracking.Item("net-checkpoint", "checkpoint", {"epochs": 2}, (weights,), large=True),
        tracking.Item("net-rows", "rows", files=(rows,)),
    ]
    found = []
    for send in (tracking.Run.made, tracking.Run.used):
        with start(tmp_path / "w", artifacts=kind) as run:
            for item in items:
                send(run, item)
            send(run, tracking.Item("gone", "rows", files=(tmp_path / "absent",)))
        assert run.path is not None
        found.append(logged(run.path).artifacts)
    if kind == "none":
        assert found == [[], []]
        return
    made, used = found
    assert [way for way, _ in [*made, *used]] == ["made"] * 3 + ["used"] * 3
    assert [each["name"] for _, each in made] == ["data-1", "net-checkpoint", "net-rows"]
    assert [each["digest"] for _, each in made] == [each["digest"] for _, each in used]
    data, net, table = (each["manifest"]["contents"][0] for _, each in made)
    md5 = base64.b64encode(hashlib.md5(b"weights").digest()).decode()
    assert (net["path"], net["digest"], net["size"]) == ("net.pt", md5, "7")
    if kind == "reference":
        assert net["ref"] == weights.as_uri() and "local_path" not in net
    else:
        assert net["local_path"] == str(weights) and "ref" not in net
    assert Path(table["local_path"]).read_text() == "{}\n" and table["local_path"] != str(rows)
    assert json.loads(Path(data["local_path"]).read_text()) == {"digest": "d", "train": 3}


LOSES_W_AND_B = """
import logging, os, pathlib, sys, time
from defensive_tensorization import tracking
logging.basicConfig(format="%(message)s")
tracking.run.START_S = tracking.run.FINISH_S = 4
def start(mode):
    return tracking.start(mode=mode, project="p", dir=pathlib.Path(sys.argv[1]), name="n",
                          group="g", job_type="eval", tags=[], config={})
"""


def script(body: str, tmp_path: Path, **variables: str) -> str:
    """What a program prints on standard error, which must end well."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    environment |= {"PYTHONPATH": str(Path(tracking.__file__).parents[2]), **variables}
    words = [sys.executable, "-c", LOSES_W_AND_B + body, str(tmp_path)]
    done = subprocess.run(
        words, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "went on\n"), done.stderr
    return done.stderr


@pytest.mark.slow
def test_wandb_s_own_process_killed_in_the_middle(tmp_path: Path) -> None:
    body = """
with start("offline") as run:
    run.log({"loss": 1.0}, at=1)
    from wandb.sdk import wandb_setup
    wandb_setup.singleton()._connection._proc._process.kill()
    time.sleep(0.5)
    run.log({"loss": 0.5}, at=2)
    run.log({"loss": 0.5}, at=3)
with start("offline") as second:
    second.log({"loss": 1.0}, at=1)
assert second.path
print("went on")
"""
    said = script(body, tmp_path)
    expected = r"W&B stopped recording this run \(.*\); the rows are not affected\n"
    assert re.fullmatch(expected, said)


@pytest.mark.slow
def test_a_network_that_vanishes_in_the_middle_and_one_that_was_never_there(
    tmp_path: Path,
) -> None:
    body = """
with start("online") as run:
    run.log({"loss": 1.0}, at=1)
    time.sleep(1)
    pathlib.Path(sys.argv[1], "started").touch()
    while not pathlib.Path(sys.argv[1], "gone").exists():
        time.sleep(0.1)
    run.log({"loss": 0.5}, at=2)
for _ in range(2):
    with start("online") as run:
        run.log({"loss": 1.0}, at=1)
print("went on")
"""
    with serving() as server:

        def cut() -> None:
            while not (tmp_path / "started").exists():
                time.sleep(0.1)
            server.vanish()
            (tmp_path / "gone").touch()

        cutter = threading.Thread(target=cut)
        cutter.start()
        said = script(body, tmp_path, WANDB_BASE_URL=server.url, WANDB_API_KEY=KEY).splitlines()
        cutter.join()
    assert len(said) == 2
    assert said[0].startswith("W&B stopped recording this run (")
    assert said[1].startswith("W&B cannot be started (")
    assert KEY not in "".join(said)


def test_disabled_does_nothing_and_does_not_import_wandb(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from defensive_tensorization import tracking\n"
        "with tracking.start(mode='disabled', project='p', dir=pathlib.Path(sys.argv[1]) / 'w',\n"
        "        name='n', group='g', job_type='eval', tags=[], config={}) as run:\n"
        "    run.log({'loss': 1.0}, at=1); run.table('t', ['a'], [[1]])\n"
        "    run.summary({'a': 1}); run.image('i', lambda: 1 / 0)\n"
        "assert run.path is None and 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert list(tmp_path.iterdir()) == []


def test_online_without_a_key_is_refused_with_the_remedy(no_key: Path) -> None:
    with pytest.raises(UsageError, match=r"needs a W&B key.*`wandb login`.*logger\.mode=offline"):
        start(no_key, mode="online")


@pytest.mark.parametrize("host", ["api.wandb.ai", "wandb.example.com"])
def test_a_netrc_entry_for_the_host_in_use_is_a_key(
    host: str, no_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (no_key / ".netrc").write_text(f"machine {host} login user password {'0' * 40}\n")
    assert tracking.has_key() == (host == "api.wandb.ai")
    monkeypatch.setenv("WANDB_BASE_URL", f"https://{host}")
    assert tracking.has_key()


@pytest.mark.parametrize(
    ("configured", "variable", "expected"),
    [
        ("offline", None, "offline"),
        ("offline", "online", "online"),
        ("offline", "disabled", "disabled"),
        ("offline", "dryrun", "offline"),
        ("disabled", "online", "disabled"),
        ("online", "disabled", "online"),
    ],
)
def test_wandb_mode_is_honoured_over_the_offline_default_alone(
    configured: str, variable: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert tracking.mode_of(configured) == expected


def test_an_unknown_mode_names_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UsageError, match=r"logger\.mode must be online, offline or disabled, got 'on'"
    ):
        tracking.mode_of("on")
    monkeypatch.setenv("WANDB_MODE", "nope")
    with pytest.raises(UsageError, match="WANDB_MODE must be .* got 'nope'"):
        tracking.mode_of("offline")

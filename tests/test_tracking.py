import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
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


def start(directory: Path, mode: str = "offline") -> tracking.Run:
    return tracking.start(
        mode=mode,
        project="defensive-tensorization",
        dir=directory,
        name="digits-theta0.9",
        group="quickstart",
        job_type="eval",
        tags=["digits", "smoke"],
        config={"theta": 0.9, "train": {"epochs": 3}},
    )


def read_back(run_directory: str) -> dict[str, Any]:
    words = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", run_directory]
    return json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)


@pytest.mark.usefixtures("offline")
def test_an_offline_run_reads_back_with_everything_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with start(tmp_path / "wandb-here") as run:
        for epoch in (1, 2, 3):
            run.log({"loss": 1 / epoch}, epoch=epoch)
        run.table("table1", ["model", "accuracy"], [["dense", 0.5], ["ours", 0.75]])
        Image.new("RGB", (3, 2)).save(tmp_path / "figure.png")
        run.image("figure", tmp_path / "figure.png")
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
            raise ConnectionError("Connection\nlost")

        def finish(self, exit_code: int) -> None:
            calls.append(exit_code)

    monkeypatch.setattr(tracking, "_init", lambda *_: Broken())
    with caplog.at_level(logging.WARNING), start(tmp_path) as run:
        run.log({"loss": 1.0}, epoch=1)
        run.log({"loss": 0.5}, epoch=2)
        run.table("t", ["a"], [[1]])
        run.image("figure", tmp_path / "absent.png")
        run.summary({"clean_accuracy": 0.5})
    assert calls == [{"loss": 1.0, "epoch": 1}]
    assert [record.getMessage() for record in caplog.records] == [
        "W&B stopped recording this run (Connection lost); the rows are not affected"
    ]


@pytest.mark.usefixtures("offline")
def test_without_wandb_installed_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with caplog.at_level(logging.WARNING), start(tmp_path) as run:
        run.log({"loss": 1.0}, epoch=1)
    assert run.path is None
    assert len(caplog.records) == 1
    assert "W&B stopped recording this run" in caplog.text


def test_a_failing_run_is_finished_as_failed_and_its_error_is_not_swallowed() -> None:
    codes = []

    class Recorder:
        offline, dir = True, "x/files"

        def finish(self, exit_code: int) -> None:
            codes.append(exit_code)

    with pytest.raises(ZeroDivisionError), tracking.Run(Recorder()):
        raise ZeroDivisionError
    assert codes == [1]


def test_disabled_does_nothing_and_does_not_import_wandb(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from defensive_tensorization import tracking\n"
        "with tracking.start(mode='disabled', project='p', dir=pathlib.Path(sys.argv[1]) / 'w',\n"
        "        name='n', group='g', job_type='eval', tags=[], config={}) as run:\n"
        "    run.log({'loss': 1.0}, epoch=1); run.table('t', ['a'], [[1]])\n"
        "    run.summary({'a': 1}); run.image('i', pathlib.Path('absent.png'))\n"
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
    assert tracking._has_key() == (host == "api.wandb.ai")
    monkeypatch.setenv("WANDB_BASE_URL", f"https://{host}")
    assert tracking._has_key()


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

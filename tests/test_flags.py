"""Flags of Hydra's and refusals of launchers: one line. And ~ in every path."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from defensive_tensorization import cli
from defensive_tensorization import config as cfg
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment.plan import device
from defensive_tensorization.sweeps.sweeper import BasesFirst
from defensive_tensorization.system import epsilon


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--config-name foo", "--config-name foo: the configuration is configs/config.yaml"),
        ("-cn foo", "--config-name foo: the configuration is configs/config.yaml"),
        ("--config-path /nope", "--config-path /nope: the configuration is configs/config.yaml"),
        ("--config-dir /nope", "--config-dir /nope is no folder: name one"),
        ("--config-dir", "argument --config-dir/-cd: expected one argument: see --help"),
        ("--foo", "unrecognized arguments: --foo: see --help"),
        ("--cfg nope", "argument --cfg/-c: invalid choice: 'nope'"),
        ("--info nope", "argument --info/-i: invalid choice: 'nope'"),
        ("--experimental-rerun a.pickle", "give the command itself again"),
        ("hydra.run.dir=~nobody_of_this_name/x", "there is no such home folder"),
    ],
)
def test_flags_are_refused_in_one_line(words: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        cfg.flags(words.split())
    assert text in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("words", ["-m theta=1,0.9", "--help", "--cfg job", "theta=0.9", ""])
def test_other_words_stay_as_they_are(words: str) -> None:
    assert cfg.flags(words.split()) == words.split()


def test_a_typo_in_a_command_is_answered_with_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["dt", "adit", "group/network"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert (ended.value.code, told) == (2, "error: adit is no command: did you mean audit?\n")


def test_an_audit_has_a_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["dt", "audit", "--help"])
    cli.main()
    assert "audit [RUN OR FINGERPRINT] [key=value ...]" in capsys.readouterr().out


@pytest.mark.parametrize("group", ["launcher", "sweeper"])
def test_a_missing_plugin_names_those_there_are(group: str) -> None:
    with pytest.raises(UsageError) as caught:
        cfg.jobs([f"hydra/{group}=nosuch"])
    assert f"hydra/{group}/nosuch does not exist: choose one of " in str(caught.value)
    assert "basic" in str(caught.value)


def refused(error: Exception) -> None:
    with cfg.in_one_line(["theta=0.9"]):
        raise error


@pytest.mark.parametrize(
    "file", ["hydra_plugins/launcher.py", "defensive_tensorization/sweeps/x.py"]
)
def test_errors_of_launchers_are_one_line_and_those_of_jobs_are_left(file: str) -> None:
    scope: dict[str, Any] = {}
    launcher = "def launch(job):\n    job()\n    raise ValueError('n_jobs == 0 has\\nno meaning')"
    exec(compile(launcher, file, "exec"), scope)

    def _job() -> None:
        raise KeyError("a bug")

    with pytest.raises(UsageError, match=r"cannot start the jobs \(n_jobs == 0 has\)"):  # noqa: SIM117
        with cfg.in_one_line([]):
            scope["launch"](lambda: None)
    with pytest.raises(KeyError, match="a bug"), cfg.in_one_line([]):
        scope["launch"](_job)
    with pytest.raises(TypeError, match="ours"):
        refused(TypeError("ours"))
    with pytest.raises(SystemExit) as ended, cfg.in_one_line([]):
        raise SystemExit(1)
    assert ended.value.code == 2


def test_a_folder_that_hydra_cannot_make(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder in (file / "below", tmp_path / ("a" * 300), Path("/proc/nowhere/x")):
        with pytest.raises(UsageError, match=r"cannot be made \(.*hydra.run.dir") as caught:  # noqa: SIM117
            with cfg.in_one_line([]):
                folder.mkdir(parents=True)
        assert "\n" not in str(caught.value)


def test_a_value_of_hydra_s_that_its_code_stumbles_over() -> None:
    scope: dict[str, Any] = {}
    exec(compile("def sweep(n):\n    assert n > 0", "hydra/core/x.py", "exec"), scope)
    with pytest.raises(UsageError, match="hydra.verbose=7: Hydra cannot work with that"):  # noqa: SIM117
        with cfg.in_one_line(["theta=1", "hydra.verbose=7"]):
            scope["sweep"]("x")
    with pytest.raises(TypeError), cfg.in_one_line(["theta=1"]):
        scope["sweep"]("x")


@pytest.mark.parametrize("size", ["x", 0, -1, 1.5, True])
def test_batches_of_a_sweep_that_are_none(size: Any) -> None:
    with pytest.raises(UsageError, match="hydra.sweeper.max_batch_size must be a whole number"):
        BasesFirst.split_arguments(object(), [], size)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["paths.runs", "paths.results", "dataset.root", "dataset.cache"])
def test_the_home_folder_in_every_path(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    more = ["dataset=cifar10"] if key.startswith("dataset") else []
    node, _, name = key.partition(".")
    for word in (f"{key}=~/a/b", f'{key}="~/a/b"'):
        found = cfg.composed([*more, *cfg.flags([word])])
        assert getattr(getattr(found, node), name) == f"{tmp_path}/a/b"
        found = cfg.composed([*more, f'{key}="~/a/b"'])
        assert getattr(getattr(found, node), name) == f"{tmp_path}/a/b"
    within = cfg.composed([*more, f'{key}="a/~b"'])
    assert getattr(getattr(within, node), name) == "a/~b"
    with pytest.raises(UsageError, match=f"{key}=~nobody_here/a: there is no such home folder"):
        cfg.composed([*more, f'{key}="~nobody_here/a"'])


def test_the_home_folder_where_hydra_alone_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["hydra.run.dir=~/r", "hydra.sweep.dir='~/s'", "--config-dir", "~"]
    home = str(tmp_path)
    expected = [f"hydra.run.dir={home}/r", f"hydra.sweep.dir='{home}/s'", "--config-dir", home]
    assert cfg.flags(words) == expected


@pytest.mark.parametrize("name", ["mps", "xpu", "meta", "foo", "", "cuda:99", "vulkan", "0"])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        device(name)
    assert str(caught.value).startswith("device") and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("eval.epsilon=[0.031]", "0.031 is 0.031/255; 8/255 is written 8 or 8/255"),
        ("eval.epsilon=[0.0078]", "0.0078 is 0.0078/255; 2/255 is written 2 or 2/255"),
        ("audit.epsilon=0.0627", "0.0627 is 0.0627/255; 16/255 is written 16 or 16/255"),
        ("eval.epsilon=[0.5/255]", None),
        ("eval.epsilon=[8,8/255,0]", None),
    ],
)
def test_an_amplitude_in_place_of_levels_is_told_once(
    word: str, line: str | None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epsilon, "_told", set())
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            cfg.composed(["dataset=cifar10", word])
    assert [each.getMessage() for each in caplog.records] == ([f"epsilon {line}"] if line else [])


def test_sound_has_amplitudes(caplog: pytest.LogCaptureFixture) -> None:
    cfg.composed(["dataset=speech_commands", "eval.epsilon=[0.031]", "model=soundnet5"])
    assert not caplog.records


def test_gitpython_is_told_to_be_quiet() -> None:
    """Which Foolbox imports; a process of its own is slow, below."""
    import defensive_tensorization.attacks.library  # noqa: F401

    assert os.environ["GIT_PYTHON_REFRESH"] == "quiet"


@pytest.mark.slow
def test_foolbox_needs_no_git(tmp_path: Path) -> None:
    """GitPython, which Foolbox imports, must not look for the program in vain."""
    import subprocess
    import sys

    program = "from defensive_tensorization.attacks.in_units import fgsm; import foolbox"
    clean = {k: v for k, v in os.environ.items() if k != "GIT_PYTHON_REFRESH"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-300:]

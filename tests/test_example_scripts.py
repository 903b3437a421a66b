"""The scripts of examples/, at toy size, and what the site shows of them."""

import importlib.util
import json
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from defensive_tensorization.config import CONFIGS
from defensive_tensorization.errors import UsageError

ROOT = CONFIGS.parent
SCRIPTS = ROOT / "examples"
OUTPUTS = ROOT / "docs" / "outputs"


def loaded() -> ModuleType:
    file = ROOT / "scripts" / "example_outputs.py"
    spec = importlib.util.spec_from_file_location("example_outputs", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


outputs = loaded()
NAMES = sorted(script.stem for script in SCRIPTS.glob("*.py"))


def test_every_script_is_run_here() -> None:
    assert sorted(outputs.RUNS) == NAMES
    source = Path(__file__).read_text()
    for name in NAMES:
        assert f'printed("{name}"' in source, name


@pytest.mark.parametrize("name", NAMES)
def test_the_output_on_the_site_is_of_this_version_of_the_script(name: str) -> None:
    """Otherwise: make example-outputs."""
    assert json.loads(outputs.VERSIONS.read_text())[name] == outputs.version(name)
    command, *lines = (OUTPUTS / f"{name}.txt").read_text().splitlines()
    assert command.startswith(f"$ python examples/{name}.py ")
    assert any(lines) and not any("/tmp" in line for line in lines)
    shown = (ROOT / "docs" / "examples.md").read_text()
    assert shown.index(f'"examples/{name}.py"') < shown.index(f'"docs/outputs/{name}.txt"')


def test_a_changed_script_or_command_is_another_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "theta_sweep.py").write_text("print(1)\n")
    monkeypatch.setattr(outputs, "EXAMPLES", tmp_path)
    first = outputs.version("theta_sweep")
    (tmp_path / "theta_sweep.py").write_text("print(2)\n")
    second = outputs.version("theta_sweep")
    monkeypatch.setitem(outputs.RUNS, "theta_sweep", ("theta=1",))
    assert len({first, second, outputs.version("theta_sweep")}) == 3


def test_no_folder_of_the_run_is_stored() -> None:
    told = outputs.stored("theta_sweep", "wrote /somewhere/a/runs/b.png  \n", "/somewhere/a")
    assert told.splitlines()[1:] == ["wrote runs/b.png"]


NETWORK = "cifar10-resnet18-w16/theta-0.9"


@pytest.mark.parametrize(
    ("name", "words", "line"),
    [
        ("load_and_attack", ["theta-0.9"], "'theta-0.9' is no name of a network: write GROUP/"),
        ("load_and_attack", [f"{NETWORK}x"], f"did you mean {NETWORK}"),
        ("load_and_attack", [NETWORK, "--root", "nowhere"], "nowhere/cifar-10-batches-py/data_bat"),
        (
            "load_and_attack",
            [NETWORK, "--source", "folder", "--root", "nowhere"],
            "dataset.root=nowhere does not exist: .* (dataset.KEY is --KEY here)",
        ),
        (
            "audit_a_defence",
            ["--batches", "0", "--claim", "45"],
            "claim must lie in (0, 1], got 45",
        ),
        ("audit_a_defence", ["--batches", "0", "--images", "0"], "images must be a whole number"),
        ("tensorize_torchvision", ["--theta", "1.5"], "--theta in (0, 1]"),
    ],
)
def test_wrong_words_end_in_one_line(
    name: str,
    words: list[str],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(".*".join(map(re.escape, line.split(".*"))), last), last
    assert not any(tmp_path.iterdir())


def test_images_of_ones_own_that_are_none_are_refused(tmp_path: Path) -> None:
    load = runpy.run_path(str(SCRIPTS / "own_images" / "own_images.py"))["load"]

    def refused(root: Path) -> str:
        with pytest.raises(UsageError) as caught:
            load(name="mine", unit=1 / 255, root=str(root))
        return str(caught.value)

    file = tmp_path / "file"
    file.touch()
    for root in (tmp_path, tmp_path / "nowhere", file):
        assert (
            refused(root) == f"dataset.root={root} is no folder of {{train,test}}/<class>/<image>"
        )
    (tmp_path / "train" / "a").mkdir(parents=True)
    assert refused(tmp_path) == f"{tmp_path}/train/a holds no image: every class needs some"
    (tmp_path / "train" / "a" / "x.png").write_text("no image")
    assert refused(tmp_path) == f"{tmp_path}/train/a/x.png is no intact image: take it away"
    Image.new("RGB", (8, 8)).save(tmp_path / "train" / "a" / "x.png")
    assert refused(tmp_path) == f"{tmp_path}/test/a holds no image: every class needs some"


@pytest.mark.slow
def test_tensorize_torchvision(tmp_path: Path) -> None:
    told = outputs.printed("tensorize_torchvision", tmp_path)
    dense, same = (line.split()[-1] for line in told.splitlines()[:2])
    assert abs(float(dense[:-1]) - float(same[:-1])) < 0.5  # the same function at theta = 1
    assert "theta = 0.8, fine-tuned" in told and told.splitlines()[-1].count("%") == 5


def test_train_on_your_images(tmp_path: Path) -> None:
    told = outputs.printed("train_on_your_images", tmp_path)
    assert "own_images-resnet18-real-theta0.9" in told and "pgd 8" in told


@pytest.mark.slow
def test_theta_sweep(tmp_path: Path) -> None:
    told = outputs.printed("theta_sweep", tmp_path)
    assert "theta clean pgd 2 pgd 8" in " ".join(told.split())
    (figure,) = (tmp_path / "runs" / "theta").glob("*.png")
    assert f"wrote {figure.relative_to(tmp_path)}" in told


def test_audit_a_defence(tmp_path: Path) -> None:
    told = outputs.printed("audit_a_defence", tmp_path)
    assert "NoisyNet" in told and "45" in told


@pytest.mark.slow
def test_load_and_attack(tmp_path: Path) -> None:
    told = outputs.printed("load_and_attack", tmp_path)
    assert "clean accuracy" in told and "eot_pgd" in told and "it was trained on" not in told

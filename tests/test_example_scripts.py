"""The scripts of examples/, at toy size, and what the site shows of them."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from defensive_tensorization.config import CONFIGS

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

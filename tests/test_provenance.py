import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from defensive_tensorization.system import provenance


def git(checkout: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    done = subprocess.run(
        ["git", "-C", str(checkout), *who, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "results").mkdir()
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / "results" / "rows.jsonl").write_text("{}\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def commit(checkout: Path) -> tuple[str, bool]:
    return provenance.commit.__wrapped__(checkout)


def test_the_commit_is_clean_until_a_tracked_file_changes(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / "untracked.txt").write_text("")
    (checkout / "results" / "rows.jsonl").write_text("{}\n{}\n")
    short, dirty = commit(checkout)
    assert head.startswith(short)
    assert len(short) >= 4
    assert not dirty
    (checkout / "code.py").write_text("x = 2\n")
    assert commit(checkout) == (short, True)


def test_outside_a_checkout_the_commit_is_unknown(checkout: Path, tmp_path_factory) -> None:
    assert commit(tmp_path_factory.mktemp("bare")) == ("unknown", False)
    (checkout / "installed").mkdir()
    assert commit(checkout / "installed") == ("unknown", False)


def test_versions_are_those_installed() -> None:
    found = provenance.versions()
    attacks = {"foolbox", "pyautoattack"}
    assert set(found) == {"python", "torch", "torchvision", "numpy", "hydra-core"} | attacks
    assert found["foolbox"] == metadata.version("foolbox")
    assert found["python"].startswith("3.")


def test_hardware_of_a_cpu_states_its_cores() -> None:
    assert provenance.hardware("cpu").endswith((" cores", " core"))


def test_hardware_of_a_gpu_is_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"card at {device}")
    assert provenance.hardware.__wrapped__("cuda:1") == "card at cuda:1"


@pytest.mark.parametrize(
    ("override", "kept"),
    [
        ("theta=0.9", "theta=0.9"),
        ("attack.epsilons=[8/255,16]", "'attack.epsilons=[8/255,16]'"),
        ("hydra/launcher=submitit_slurm", "hydra/launcher=submitit_slurm"),
        ("~hydra/launcher", "'~hydra/launcher'"),
        ("dataset.root=data/cifar", "dataset.root=data/cifar"),
        ("dataset.root=/home/me/data/cifar.tar.xz", "dataset.root=cifar.tar.xz"),
        ("dataset.root=../shared/cifar.tar", "dataset.root=cifar.tar"),
        ("dataset.root=~/cifar/", "dataset.root=cifar"),
        ("dataset.root='/a/my data/c.tar'", "'dataset.root='\"'\"'c.tar'\"'\"''"),
        ("x=[/a/b, ../c/d]", "'x=[b, d]'"),
        ("x={a:/y/z}", "'x={a:z}'"),
        ("hydra.searchpath=[file:///a/b]", "'hydra.searchpath=[file:b]'"),
    ],
)
def test_the_command_repeats_the_run_without_machine_paths(override: str, kept: str) -> None:
    assert provenance.command([override]) == f"python -m defensive_tensorization {kept}"


def test_the_command_is_this_process_s_own_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/x/__main__.py", "-m", "theta=1,0.9"])
    assert provenance.command() == "python -m defensive_tensorization -m theta=1,0.9"

"""pyproject.toml, requirements.lock and environment.yml describe one environment, and `make` it."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from helpers.described import DOT, PROJECT, PYTHONS, ROOT, TOOLS, committed_files
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from defensive_tensorization.errors import EXTRAS

SET_UP = (ROOT / "scripts" / "set_up.sh").read_text()
LOCK = (ROOT / "requirements.lock").read_text()
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()

# Spelled in pieces, so that this file does not hold what it looks for.
HOSTS = [
    DOT.join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("anaconda", "org"),
        ("npmjs", "org"),
        ("deb", "debian", "org"),
    ]
]
INDEX_LINES = ["--" + "index-url", "--extra-" + "index-url", "--find-" + "links"]


@cache
def locked(python: str) -> dict[str, tuple[Version, list[str]]]:
    """Name -> (version, hashes) for every entry of the lock under this Python, such as 3.11."""
    text = re.sub(r"^\s*#.*\n", "", LOCK, flags=re.MULTILINE).replace("\\\n", " ")
    entries = {}
    for line in text.splitlines():
        requirement, *hashes = line.split("--hash=")
        parsed = Requirement(requirement.strip())
        [pin] = parsed.specifier
        assert pin.operator == "==", line
        if parsed.marker and not parsed.marker.evaluate({"python_full_version": f"{python}.0"}):
            continue
        name = canonicalize_name(parsed.name)
        assert name not in entries, f"{name} is locked twice"
        entries[name] = (Version(pin.version), [digest.strip() for digest in hashes])
    return entries


def required() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    found = [Requirement(text) for text in sum(extras, PROJECT["dependencies"])]
    return [requirement for requirement in found if requirement.name != PROJECT["name"]]


def offences(text: str) -> list[str]:
    return [word for word in HOSTS + INDEX_LINES if word in text]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_holds_what_pyproject_asks_for(python: str) -> None:
    under = {"python_version": python, "python_full_version": f"{python}.0"}
    held = locked(python)
    for requirement in required():
        if requirement.marker is None or requirement.marker.evaluate(under):
            version, _ = held[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version, prereleases=True), requirement


def test_the_core_is_torch_numpy_and_tensorly_alone() -> None:
    assert {Requirement(text).name for text in PROJECT["dependencies"]} == {
        "torch",
        "numpy",
        "tensorly",
    }


def test_a_missing_package_is_looked_for_in_the_extra_that_has_it() -> None:
    modules = {"hydra": "hydra-core", "sklearn": "scikit-learn", "PIL": "pillow"}
    extras = PROJECT["optional-dependencies"]
    for module, extra in EXTRAS.items():
        name = canonicalize_name(modules.get(module, module))
        assert name in {canonicalize_name(Requirement(text).name) for text in extras[extra]}


@pytest.mark.parametrize("python", PYTHONS)
def test_every_locked_entry_has_hashes(python: str) -> None:
    for name, (_, hashes) in locked(python).items():
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), name


def test_the_lock_names_no_address() -> None:
    assert "://" not in LOCK
    assert not [line for line in LOCK.splitlines() if line.startswith("-")]


def test_conda_installs_the_same_lock_under_the_same_python() -> None:
    [pip] = [entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock"]  # its hashes turn on pip's hash mode
    [python] = [entry for entry in CONDA["dependencies"] if str(entry).startswith("python=")]
    minor = python.removeprefix("python=")
    assert minor in PYTHONS
    found = re.search(r"^PYTHON \?= .* for p in (\S+)", MAKEFILE, flags=re.MULTILINE)
    assert found and found[1] == f"python{minor}"
    assert CONDA["name"] == PROJECT["name"]


def test_every_supported_python_is_named_alike() -> None:
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert PYTHONS and all(f"{python}.0" in allowed for python in PYTHONS)
    first, last = PYTHONS[0], PYTHONS[-1]
    after = f"3.{int(last.split('.')[1]) + 1}"
    assert f"{first.split('.')[0]}.{int(first.split('.')[1]) - 1}.0" not in allowed
    rule = (
        f"not ({first.replace('.', ', ')}) <= sys.version_info[:2] < ({after.replace('.', ', ')})"
    )
    assert rule in MAKEFILE
    assert rule in SET_UP
    assert f"Python {first} to {last} " in SET_UP
    assert f"--python-version {first} " in MAKEFILE
    assert all(f"python{python}" in MAKEFILE for python in PYTHONS)
    assert f"python_full_version < '{after}'" in TOOLS["uv"]["environments"]
    assert TOOLS["mypy"]["python_version"] == first
    assert TOOLS["ruff"]["target-version"] == f"py{first.replace('.', '')}"


def test_no_committed_file_names_a_registry_or_an_index() -> None:
    found = {}
    for file in committed_files():
        words = offences(file.read_bytes().decode(errors="replace"))
        if words:
            found[str(file.relative_to(ROOT))] = words
    assert found == {}


def test_the_search_for_registries_finds_them() -> None:
    assert offences(f"https://files.{HOSTS[1]}/packages") == [HOSTS[1]]
    assert offences(f"{INDEX_LINES[0]} https://{HOSTS[0]}/simple") == [HOSTS[0], INDEX_LINES[0]]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_every_target_with_a_line() -> None:
    [phony] = re.findall(r"^\.PHONY:(.*)$", MAKEFILE, flags=re.MULTILINE)
    [experiments] = re.findall(r"^EXPERIMENTS := (.*)$", MAKEFILE, flags=re.MULTILINE)
    rules = set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, flags=re.MULTILINE))
    renders = {rule for rule in rules if rule.startswith("render-")}
    made = {f"{what}-{each}" for each in experiments.split() for what in ("reproduce", "render")}
    named = set(re.sub(r"\$\([^)]*\)", "", phony).split())
    assert named | made == rules | made
    words = ["make", "--no-print-directory", "-C", str(ROOT)]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    listed = dict(re.findall(r"^  ([a-z0-9.-]+) +(\S.*)$", printed, flags=re.MULTILINE))
    reproduced = {f"reproduce-{each}" for each in experiments.split()}
    assert set(listed) == (rules - renders) | reproduced | {"render-..."}


def set_up(where: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    shutil.copytree(ROOT / "scripts", where / "scripts", dirs_exist_ok=True)
    command = ["sh", "scripts/set_up.sh", ".venv", *words]
    environment = os.environ | variables
    return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((sys.executable, "mine"), "error: TORCH must be locked or system, got 'mine': "),
        (("python2.7", "locked"), "error: Python 3.10 to 3.14 with venv is needed, found 'python"),
        (("", "locked", "given"), "error: Python 3.10 to 3.14 with venv is needed, found '': "),
    ],
)
def test_a_set_up_that_cannot_be_is_refused_in_one_line(
    words: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    made = set_up(tmp_path, *words)
    assert made.returncode == 2
    assert made.stderr.startswith(line) and made.stderr.count("\n") == 1
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("words", [(sys.executable, "locked"), (sys.executable, "system", "given")])
def test_a_linked_environment_is_never_changed(words: tuple[str, ...], tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin" / "python").symlink_to(sys.executable)  # one that runs
    before = sorted(other.rglob("*"))
    here = tmp_path / "here"
    here.mkdir()
    (here / ".venv").symlink_to(other)
    made = set_up(here, *words)
    assert made.returncode == 2
    assert made.stderr == (
        f"error: .venv is a link to {other}: this would change the install there; remove the "
        "link and run make setup\n"
    )
    assert sorted(other.rglob("*")) == before and (here / ".venv").is_symlink()


@pytest.mark.slow
def test_the_machine_s_own_torch_is_used_and_none_installed(tmp_path: Path) -> None:
    """A lock of the installer, of one small package, and of a torch that is not to be had."""
    entries = re.split(r"^(?=[a-z])", LOCK, flags=re.MULTILINE)
    kept = [each for each in entries if each.startswith(("uv==", "iniconfig==", "setuptools=="))]
    torch = f"torch==2.11.0 \\\n    --hash=sha256:{'0' * 64}\n"
    (tmp_path / "requirements.lock").write_text("".join(kept) + torch)
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\n[project]\nname = "small"\nversion = "1"\n'
    )
    own = tmp_path / "own"
    own.mkdir()
    (own / "torch.py").write_text('__version__ = "2.3.1"\n')
    base = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}")
    seen = {"PYTHONPATH": str(own)}
    made = set_up(tmp_path, base, "system", **seen)
    assert made.returncode == 2
    assert "error: TORCH=system needs torch 2.4 or later" in made.stderr
    (own / "torch.py").write_text('__version__ = "2.10.0a0+nv25"\n')
    made = set_up(tmp_path, base, "system", **seen)
    assert made.returncode == 0, made.stderr
    settings = (tmp_path / ".venv" / "pyvenv.cfg").read_text()
    assert "include-system-site-packages = true" in settings
    [site] = (tmp_path / ".venv").glob("lib/python*/site-packages")
    assert (site / "iniconfig").is_dir() and not list(site.glob("torch*"))
    refused = set_up(tmp_path, base, "locked", "given")  # a new .venv, with the lock's torch
    assert refused.returncode != 0 and "torch" in refused.stderr
    settings = (tmp_path / ".venv" / "pyvenv.cfg").read_text()
    assert "include-system-site-packages = false" in settings


def test_workflows_pin_their_actions_and_only_call_make() -> None:
    rules = set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, flags=re.MULTILINE))
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert files
    pythons: set[str] = set()
    for file in files:
        described = yaml.safe_load(file.read_text())
        assert described["permissions"] == {"contents": "read"}
        for job in described["jobs"].values():
            pythons |= set(job.get("strategy", {}).get("matrix", {}).get("python", []))
            for step in job["steps"]:
                if "uses" in step:
                    assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]), step
                else:
                    [make, target] = step["run"].split()
                    assert make == "make" and target in rules, step
    assert sorted(pythons) == sorted(PYTHONS)


def test_the_hooks_are_what_make_lint_runs_and_download_nothing() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    [repository] = hooks["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    assert all(hook["entry"].startswith(".venv/bin/python -m ") for hook in repository["hooks"])
    tools = {hook["entry"].split()[2].partition(".")[0] for hook in repository["hooks"]}
    assert tools == {"ruff", "mypy", "pre_commit_hooks"}
    assert "\nlint: $(READY) " in MAKEFILE and "-m pre_commit run --all-files\n" in MAKEFILE


def test_a_report_of_a_problem_asks_for_the_version_and_the_doctor() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "problem.yml").read_text())
    required = {
        part["attributes"]["description"]
        for part in form["body"]
        if part.get("validations", {}).get("required")
    }
    assert any("defensive-tensorization --version" in text for text in required)
    assert any("make doctor" in text for text in required)


def test_the_citation_names_the_paper() -> None:
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    assert (paper["title"], paper["year"]) == ("Defensive Tensorization", 2021)
    assert len(paper["authors"]) == 8 and paper["authors"][0]["family-names"] == "Bulat"
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2110.13859"}]


def test_the_container_is_built_by_make_from_the_lock_and_runs_as_nobody_special() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    (user,) = [line[1] for line in words if line[0] == "USER"]
    assert int(user) > 0 and "VOLUME" in {line[0] for line in words}
    python = next(line[1] for line in words if line[0] == "ARG").removeprefix("PYTHON=")
    assert python in PYTHONS
    runs = [" ".join(line[1:]) for line in words if line[0] == "RUN"]
    assert not [run for run in runs if "pip install" in run]
    assert any(run.startswith("make setup") for run in runs)
    assert any(f"useradd --create-home --uid {user} " in run for run in runs)
    assert words.index(["USER", user]) < next(
        i for i, line in enumerate(words) if line[:3] == ["RUN", "make", "setup"]
    )


@pytest.mark.slow
def test_the_suite_passes_on_a_processor_with_avx2_alone() -> None:
    """As oneDNN and torch emulate it: what they do not compute in it ends in a crash."""
    run = subprocess.run(["make", "test-avx2"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:]

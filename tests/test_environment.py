"""pyproject.toml, requirements.lock and environment.yml describe one environment, and `make` it."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text()
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()

# Spelled in pieces, so that this file does not hold what it looks for.
DOT = "."
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


def locked() -> dict[str, tuple[Version, list[str]]]:
    """Name -> (version, hashes) for every entry of the lock."""
    text = re.sub(r"^\s*#.*\n", "", LOCK, flags=re.MULTILINE).replace("\\\n", " ")
    entries = {}
    for line in text.splitlines():
        requirement, *hashes = line.split("--hash=")
        parsed = Requirement(requirement.strip())
        [pin] = parsed.specifier
        assert pin.operator == "==", line
        name = canonicalize_name(parsed.name)
        assert name not in entries, f"{name} is locked twice"
        entries[name] = (Version(pin.version), [digest.strip() for digest in hashes])
    return entries


def required() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(text) for text in sum(extras, PROJECT["dependencies"])]


def offences(text: str) -> list[str]:
    return [word for word in HOSTS + INDEX_LINES if word in text]


def committed_files() -> list[Path]:
    words = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if (ROOT / name).is_file()]


@pytest.mark.parametrize("requirement", required(), ids=str)
def test_the_lock_holds_what_pyproject_asks_for(requirement: Requirement) -> None:
    version, _ = locked()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version, prereleases=True)


def test_every_locked_entry_has_hashes() -> None:
    for name, (_, hashes) in locked().items():
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), name


def test_the_lock_names_no_address() -> None:
    assert "://" not in LOCK
    assert not [line for line in LOCK.splitlines() if line.startswith("-")]


def test_conda_installs_the_same_lock_under_the_same_python() -> None:
    [pip] = [entry["pip"] for entry in CONDA["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock"]  # its hashes turn on pip's hash mode
    [python] = [entry for entry in CONDA["dependencies"] if str(entry).startswith("python=")]
    allowed = SpecifierSet(PROJECT["requires-python"])
    minor = python.removeprefix("python=")
    assert f"{minor}.0" in allowed
    assert f"sys.version_info[:2] != ({minor.replace('.', ', ')})" in MAKEFILE
    assert f"--python-version {minor} " in MAKEFILE
    assert CONDA["name"] == PROJECT["name"]


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


@pytest.mark.slow
def test_the_suite_passes_on_a_processor_with_avx2_alone() -> None:
    """As oneDNN and torch emulate it: what they do not compute in it ends in a crash."""
    run = subprocess.run(["make", "test-avx2"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:]

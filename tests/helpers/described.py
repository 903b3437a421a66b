"""What pyproject.toml says of the project, and the files of this checkout."""

import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
DESCRIBED = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, TOOLS = DESCRIBED["project"], DESCRIBED["tool"]
PREFIX = "Programming Language :: Python :: "
PYTHONS = [c.removeprefix(PREFIX) for c in PROJECT["classifiers"] if c.startswith(PREFIX)]
DOT = "."  # for names spelled in pieces, so that a file does not hold what it looks for


def committed_files() -> list[Path]:
    words = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if (ROOT / name).is_file()]

"""Where a row came from: the commit, the versions, the hardware and the command."""

import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath

from . import cores, processor

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "torchvision", "foolbox", "pyautoattack", "numpy", "hydra-core")
ABSENT = "not installed"


@cache
def commit(checkout: Path = CHECKOUT) -> tuple[str, bool]:
    """Short hash of the checkout, and whether its tracked files differ from it.

    Read once per process, when the code that runs was loaded. `results/` does not count: what a
    run writes there does not change what the next one computes. ("unknown", False) outside git.
    """
    try:
        top = _git(checkout, "rev-parse", "--show-toplevel")
        if Path(top).resolve() != checkout.resolve():  # installed inside some other repository
            return "unknown", False
        head = _git(checkout, "rev-parse", "--short", "HEAD")
        changes = _git(
            checkout, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!results"
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown", False
    return head, bool(changes)


def commit_name() -> str:
    """The checkout's short hash, with "+" where its tracked files differ from it."""
    head, dirty = commit()
    return head + "+" * dirty


def versions() -> dict[str, str]:
    """Python's version and those of the packages that decide a number."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def version(package: str) -> str:
    """The version of an installed package, or ABSENT."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ABSENT


@cache
def hardware(device: object) -> str:
    """The GPU's name for a CUDA device; otherwise the CPU's model and the cores it may use.

    device: a `torch.device` or its name. torch is imported for CUDA alone.
    """
    if str(device).startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(str(device))
    count = cores.available()
    model = processor.cpuinfo("model name") or platform.processor() or platform.machine()
    return f"{model}, {count} {'core' if count == 1 else 'cores'}"


def command(
    overrides: Sequence[str] | None = None, program: str = "-m defensive_tensorization"
) -> str:
    """The command line that repeats this run, with machine paths cut to their last component.

    overrides: Hydra's, of the form key=value; by default those this process was started with.
    """
    arguments = sys.argv[1:] if overrides is None else overrides
    words = ["python", *program.split(), *map(_without_paths, arguments)]
    return shlex.join(words)


def _git(checkout: Path, *arguments: str) -> str:
    words = ["git", "--no-optional-locks", "-C", str(checkout), *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


def _without_paths(argument: str) -> str:
    return "".join(map(_last_component, re.split(r"""([\[\]{}(),:='"])""", argument)))


def _last_component(token: str) -> str:
    path = token.strip()
    if path.startswith(("/", "~/")) or "../" in path:
        return token.replace(path, PurePosixPath(path).name or path)
    return token

"""What this machine has, on one screen: what a report of something that went wrong should hold.

python -m defensive_tensorization doctor

It names no environment variable but OMP_NUM_THREADS and WANDB_MODE, no host, user or whole path.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from .. import __version__
from ..errors import UsageError
from ..system import memory, processor, provenance
from ..system.memory import GIB

CORE = ("torch", "numpy", "tensorly")
EXTRAS = {
    "attacks": ("foolbox", "pyautoattack"),
    "experiments": ("hydra-core", "torchvision", "torchaudio", "scikit-learn", "wandb"),
}
LAUNCHERS = {"joblib": "hydra-joblib-launcher", "submitit": "hydra-submitit-launcher"}
INSTRUCTIONS = "avx avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile asimd bf16 sve".split()


def main() -> None:
    """Print the report; nothing is written, nothing is asked of the network."""
    for topic, line in report():
        print(f"{topic:<12}{line}")


def report(runs: Path = Path("runs")) -> Iterator[tuple[str, str]]:
    """Topic and line. runs: the folder of checkpoints and rows, where the data's caches lie."""
    yield "version", f"defensive-tensorization {__version__}, commit {provenance.commit_name()}"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "python", f"{platform.python_version()}, {system}"
    yield "core", ", ".join(map(_named, CORE))
    for extra, packages in EXTRAS.items():
        yield extra, ", ".join(map(_named, packages))
    yield "processor", f"{provenance.hardware('cpu')}: {' '.join(instructions()) or 'unknown'}"
    yield from _torch()
    yield "memory", _memory()
    free = shutil.disk_usage(runs if runs.exists() else ".").free
    yield "disk", f"{free / GIB:.0f} GiB free where runs are kept"
    yield "data", ", ".join(data(runs)) or "none found"
    yield "W&B", _wandb()
    yield "launchers", ", ".join(_launchers())


def instructions() -> list[str]:
    """Those of the processor that decide how fast it computes, where the system names them."""
    found = processor.cpuinfo("flags|Features").split()
    return [each for each in INSTRUCTIONS if each in found]


def data(runs: Path) -> Iterator[str]:
    """Data sets that need no download: those packed in runs/cache, and what scikit-learn ships."""
    for file in sorted((runs / "cache").glob("*.pt")):
        yield f"{file.stem.rpartition('-')[0]} ({file.stat().st_size / 2**20:.0f} MiB packed)"
    if provenance.version("scikit-learn") != provenance.ABSENT:
        yield "digits (of scikit-learn)"


def _torch() -> Iterator[tuple[str, str]]:
    try:
        import torch
    except ImportError as error:
        yield "precision", f"unknown: torch cannot be imported ({error})"
        return
    yield "precision", _precision()
    asked = os.environ.get("OMP_NUM_THREADS", "not set")
    yield "threads", f"{torch.get_num_threads()} of torch, OMP_NUM_THREADS {asked}"
    for i in range(torch.cuda.device_count()):
        has = torch.cuda.get_device_properties(i)
        capability = f"capability {has.major}.{has.minor}"
        yield "GPU", f"{has.name}, {has.total_memory / GIB:.0f} GiB, {capability}"
    if not torch.cuda.is_available():
        yield "GPU", f"none (torch built for {torch.version.cuda or 'the processor alone'})"


def _precision() -> str:
    """What autocast=auto takes here."""
    if native := processor.bfloat16("auto"):
        return f"bfloat16, computed by {native}"
    slower = processor.EMULATED
    return f"float32 (bfloat16 is emulated here, about {slower} times slower)"


def _memory() -> str:
    found = memory.free_and_total()
    return f"{found[0]:.1f} of {found[1]:.1f} GiB available" if found else "unknown"


def _wandb() -> str:
    from ..tracking.key import has_key, mode_of

    try:
        mode: str = mode_of("offline")
    except UsageError as error:
        mode = str(error)
    return f"{mode}, {'a key is' if has_key() else 'no key'} there"


def _launchers() -> Iterator[str]:
    for name, package in LAUNCHERS.items():
        yield f"{name} {provenance.version(package)}"
    torchrun = Path(sys.executable).with_name("torchrun").exists()
    for name, there in (("Slurm", shutil.which("sbatch")), ("torchrun", torchrun)):
        yield f"{name} {'found' if there else 'not found'}"


def _named(package: str) -> str:
    return f"{package} {provenance.version(package)}"

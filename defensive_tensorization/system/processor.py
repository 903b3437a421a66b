"""What the processor or GPU computes itself, and what it would have to emulate."""

import os
import re
import sys
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # what a driver makes: CUDA, ROCm, Windows
EMULATED = 12  # times slower than float32: a training step of ResNet-18 on AVX2 (docs/speed.md)

# flag of the processor -> its name, and the ONEDNN_MAX_CPU_ISA values that leave it in use
BFLOAT16 = {
    "amx_bf16": ("AMX", ("AVX512_CORE_AMX", "AVX10_1_512_AMX", "DEFAULT", "ALL")),
    "avx512_bf16": ("AVX512-BF16", ("AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX10_1_512")),
}


def bfloat16(device: str) -> str:
    """Return what computes bfloat16 on a device: "AMX", "the GPU", ...; "" where it is emulated.

    Args:
        device: auto, cpu or cuda, as in the configuration. torch is imported only where a GPU
            may be at hand.
    """
    return _gpu() if on_gpu(device) else _cpu()


def on_gpu(device: str) -> bool:
    """Whether a run on this device (auto, cpu, cuda) computes on a GPU."""
    if device.startswith("cuda"):
        return True
    maybe = "torch" in sys.modules or any(Path(each).exists() for each in GPUS)
    if device != "auto" or not maybe:
        return False
    import torch

    return torch.cuda.is_available()


@cache
def _gpu() -> str:
    import torch

    native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "the GPU" if native else ""


def _cpu() -> str:
    """By Linux's account of an x86 processor, within what oneDNN was told to use."""
    flags = cpuinfo("flags").split()
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    allowed = [at for at, (_, limits) in enumerate(BFLOAT16.values()) if limit in limits]
    for flag, (name, _) in list(BFLOAT16.items())[min(allowed, default=len(BFLOAT16)) :]:
        if flag in flags:
            return name
    return ""


def cpuinfo(field: str) -> str:
    """Return what Linux says of the first processor, "" where it says nothing.

    Args:
        field: a regular expression for the field's name, such as "model name".
    """
    return _cpuinfo(CPUINFO, field)


@cache
def _cpuinfo(file: Path, field: str) -> str:
    try:
        found = re.search(rf"^(?:{field})\s*:(.*)$", file.read_text(), flags=re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else ""

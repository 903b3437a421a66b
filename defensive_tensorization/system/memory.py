"""How much memory this machine has and has left, by Linux's account."""

import re
from pathlib import Path

GIB = 1024**3
MEMINFO = Path("/proc/meminfo")


def free_and_total(meminfo: Path = MEMINFO) -> tuple[float, float] | None:
    """GiB that a new process may take, and in all; None where the system does not say."""
    try:
        text = meminfo.read_text()
    except OSError:
        return None
    kib = dict(re.findall(r"^(MemTotal|MemAvailable):\s+(\d+)", text, re.M))
    if len(kib) < 2:
        return None
    return int(kib["MemAvailable"]) * 1024 / GIB, int(kib["MemTotal"]) * 1024 / GIB

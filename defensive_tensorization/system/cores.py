"""How many cores this process really has, and what OpenMP is told before torch is loaded.

Standard library alone: the Makefile runs this file before anything is installed.

A container's quota of processor time is no mask of cores: `nproc`, os.cpu_count and OpenMP do not
see it, and threads beyond it stand still for most of each period.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

PROCESS = Path("/proc/self")
SPIN = 300  # turns that GNU OpenMP waits for a thread before it sleeps (docs/speed.md)
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "KMP_LIBRARY")


def prepare() -> None:
    """Tell OpenMP, unless the user did: how many threads, and not to spin while they wait.

    torch must not be loaded yet; processes started from here inherit both.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(available()))
    if not any(name in os.environ for name in WAITING):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN)


def available(process: Path = PROCESS, allowed: int | None = None) -> int:
    """Return the cores that this process can keep busy: its affinity, cut to its quota.

    Args:
        process: the folder of the process in /proc.
        allowed: the cores of its affinity; None: as the system says.
    """
    if allowed is None:
        mask = hasattr(os, "sched_getaffinity")
        allowed = len(os.sched_getaffinity(0)) if mask else os.cpu_count() or 1
    return max(1, min([allowed, *(quota // period for quota, period in _quotas(process))]))


def _quotas(process: Path) -> Iterator[tuple[int, int]]:
    """(quota, period) in microseconds of the process's control groups and those around them."""
    groups = dict(_groups(_text(process / "cgroup")))
    for kind, root, mount in _mounts(_text(process / "mountinfo")):
        if kind not in groups:
            continue
        below = os.path.relpath(groups[kind], root)
        folder = mount if below.startswith("..") else mount / below  # seen from another namespace
        for each in (folder, *folder.parents):
            yield from _quota(each)
            if each == mount:
                break


def _groups(text: str) -> Iterator[tuple[str, str]]:
    """The version of control groups and the group's path, from /proc/PID/cgroup."""
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            yield "cgroup2", path
        elif "cpu" in controllers.split(","):
            yield "cgroup", path


def _mounts(text: str) -> Iterator[tuple[str, str, Path]]:
    """Version, root and mount point of the hierarchies that limit processors, from mountinfo."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        where, what = before.split(), after.split()
        if len(where) < 5 or not what:
            continue
        of_cpu = what[0] == "cgroup" and "cpu" in what[-1].split(",")
        if of_cpu or what[0] == "cgroup2":
            yield what[0], _plain(where[3]), Path(_plain(where[4]))


def _quota(folder: Path) -> Iterator[tuple[int, int]]:
    """Of one control group: version 2 in one file, version 1 in two; nothing where unlimited."""
    words = _text(folder / "cpu.max").split() or [
        *_text(folder / "cpu.cfs_quota_us").split(),
        *_text(folder / "cpu.cfs_period_us").split(),
    ]
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
        yield int(words[0]), int(words[1])


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):  # another system, or a group that has gone
        return ""


def _plain(escaped: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), escaped)


if __name__ == "__main__":
    print(available())

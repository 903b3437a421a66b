"""The cores of a process: affinity and quotas of control groups, in files made here."""

import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defensive_tensorization.system import cores

FILE = cores.__file__
LIMIT = st.none() | st.tuples(st.integers(1_000, 1_000_000), st.sampled_from([10_000, 100_000]))
NAME = st.sampled_from(["docker", "a b", "job_7", "user.slice"])


def hierarchy(
    home: Path, version: int, names: list[str], limits: list[tuple[int, int] | None], shown: int
) -> Path:
    """A process's folder, in the last of nested groups; `shown` outer groups lie outside its mount.

    limits: of the mounted group and each below it.
    """
    process, mount = home / "proc", home / "sys fs"
    process.mkdir(parents=True)
    folder = mount
    for name, limit in zip(["", *names[shown:]], limits, strict=False):
        folder = folder / name
        folder.mkdir(parents=True, exist_ok=True)
        if version == 2:
            (folder / "cpu.max").write_text(
                "max 100000\n" if limit is None else f"{limit[0]} {limit[1]}\n"
            )
        else:
            quota, period = limit or (-1, 100_000)
            (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
            (folder / "cpu.cfs_period_us").write_text(f"{period}\n")
    path, root = "/" + "/".join(names), "/" + "/".join(names[:shown])
    place = str(mount).replace(" ", "\\040")
    root = root.replace(" ", "\\040")
    kind, option = ("cgroup2", "rw") if version == 2 else ("cgroup", "rw,cpu,cpuacct")
    (process / "mountinfo").write_text(
        "22 1 0:20 / /proc rw - proc proc rw\n"
        f"30 22 0:26 {root} {place} ro,nosuid shared:4 - {kind} {kind} {option}\n"
        f"31 22 0:27 / /elsewhere rw - cgroup cgroup rw,memory\n"
    )
    group = f"0::{path}" if version == 2 else f"4:cpu,cpuacct:{path}\n3:memory:/other"
    (process / "cgroup").write_text(group + "\n")
    return process


@settings(max_examples=60)
@given(st.data(), st.sampled_from([1, 2]), st.integers(1, 64), st.lists(NAME, max_size=3))
def test_the_smallest_quota_on_the_way_counts(
    data: st.DataObject, version: int, allowed: int, names: list[str]
) -> None:
    shown = data.draw(st.integers(0, len(names)))
    limits = data.draw(
        st.lists(LIMIT, min_size=len(names) - shown + 1, max_size=len(names) - shown + 1)
    )
    whole = [math.floor(Fraction(*limit)) for limit in limits if limit is not None]
    with TemporaryDirectory() as home:
        process = hierarchy(Path(home), version, names, limits, shown)
        assert cores.available(process, allowed) == max(1, min([allowed, *whole]))


def test_a_group_of_another_namespace_is_the_mounted_one(tmp_path: Path) -> None:
    process = hierarchy(tmp_path, 2, [], [(250_000, 100_000)], 0)
    (process / "mountinfo").write_text(
        (process / "mountinfo").read_text().replace(" / ", " /docker/0123 ")
    )
    assert cores.available(process, 8) == 2


@pytest.mark.parametrize("text", ["", "max", "-1 5", "x y", "100000 0", "\n\n"])
def test_files_that_say_nothing(text: str, tmp_path: Path) -> None:
    process = hierarchy(tmp_path, 2, [], [None], 0)
    (tmp_path / "sys fs" / "cpu.max").write_text(text)
    assert cores.available(process, 3) == 3
    assert cores.available(tmp_path / "nowhere", 3) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a mask of cores is Linux's")
def test_the_affinity_of_this_process() -> None:
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{one}]); exec(open({FILE!r}).read())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize("name", ["", *cores.WAITING, "OMP_NUM_THREADS"])
def test_what_the_user_set_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (*cores.WAITING, "OMP_NUM_THREADS"):
        monkeypatch.delenv(each, raising=False)
    if name:
        monkeypatch.setenv(name, "7")
    cores.prepare()
    set_ = {each: os.environ.get(each) for each in (*cores.WAITING, "OMP_NUM_THREADS")}
    threads = "7" if name == "OMP_NUM_THREADS" else str(cores.available())
    expected = dict.fromkeys(set_) | {"OMP_NUM_THREADS": threads}
    expected |= {name: "7"} if name else {}
    if name not in cores.WAITING:
        expected["GOMP_SPINCOUNT"] = str(cores.SPIN)
    assert set_ == expected


TOLD = """
import os, sys
from defensive_tensorization import cli
from importlib import import_module
import defensive_tensorization.cli as cli
def load(name, package):
    assert "torch" not in sys.modules
    print(os.environ["OMP_NUM_THREADS"], os.environ["GOMP_SPINCOUNT"])
    raise SystemExit(0)
cli.import_module = load
cli.main()
"""


def test_the_command_tells_openmp_before_torch_is_loaded() -> None:
    free = {k: v for k, v in os.environ.items() if k not in (*cores.WAITING, "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", TOLD], env=free, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(cores.available()), str(cores.SPIN)]

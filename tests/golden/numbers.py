"""Golden numbers and how far rounding moves them: measured, not chosen.

`make golden` computes every number on this processor as it is, then with the instructions of one
that has AVX2 alone, and with two threads. A number is held within MARGIN times the largest
difference seen, or within its floor where that is more.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("numbers.jsonl")
SLOW = Path(__file__).with_name("numbers_slow.jsonl")
ROOT = Path(__file__).parents[2]
MARGIN = 5
# A decision at a boundary, a sign of a gradient near zero: rare, and a matter of rounding alone.
FLOORS = {"accuracies": 0.01, "loss after training": 0.001}
FLOOR = 2e-5  # of all else, relative to its size: float32 sums of thousands of terms
OTHERS: list[dict[str, str]] = [
    {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"},
]
Entry = dict[str, Any]  # values, and within which distance of each


def computed(environment: Mapping[str, str], *, slow: bool) -> dict[str, list[float]]:
    """Every number, by a process of its own."""
    words = [sys.executable, "-m", "golden.networks", *(["slow"] if slow else [])]
    paths = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "WANDB_MODE": "disabled"}
    with tempfile.TemporaryDirectory() as folder:
        paths["OMP_NUM_THREADS"] = "1"
        made = subprocess.run(
            words, cwd=folder, env=os.environ | paths | dict(environment), capture_output=True,
            text=True, check=True,
        )  # fmt: skip
    found: dict[str, list[float]] = json.loads(made.stdout.splitlines()[-1])
    return found


def renewed(*, slow: bool = False) -> dict[str, Entry]:
    """Every number here, and its distance to what other processors make of it."""
    with ThreadPoolExecutor() as pool:
        here, *others = pool.map(lambda each: computed(each, slow=slow), [{}, *OTHERS])
    return entries(here, others)


def entries(
    here: Mapping[str, list[float]], others: list[Mapping[str, list[float]]]
) -> dict[str, Entry]:
    """The numbers to write, each to seven digits, with their tolerances."""
    return {
        key: {
            "values": [float(f"{value:.7g}") for value in values],
            "within": within(key, values, [each[key] for each in others]),
        }
        for key, values in here.items()
    }


def within(key: str, values: list[float], others: list[list[float]]) -> float:
    """The tolerance of a number, to two digits."""
    seen = max(abs(a - b) for other in others for a, b in zip(values, other, strict=True))
    floor = FLOORS.get(key.rpartition(": ")[2], FLOOR * max(1, *map(abs, values)))
    return float(f"{max(MARGIN * seen, floor):.1e}")


def differences(expected: Mapping[str, Entry], found: Mapping[str, list[float]]) -> list[str]:
    """A line for each number that is missing, new or too far from its golden value."""
    told = [f"{key}: not computed" for key in expected if key not in found]
    for key, values in found.items():
        if key not in expected:
            told.append(f"{key}: no golden value")
            continue
        golden, far = expected[key]["values"], expected[key]["within"]
        if len(golden) != len(values):
            told.append(f"{key}: {len(values)} numbers, not {len(golden)}")
            continue
        i = max(range(len(values)), key=lambda i: abs(values[i] - golden[i]))
        if not abs(values[i] - golden[i]) <= far:  # a nan is too far, too
            told.append(f"{key}, number {i}: {values[i]:g}, golden {golden[i]:g} within {far:g}")
    return told

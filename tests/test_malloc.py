"""Freed memory stays with the process: by glibc's own account, not by time or page faults."""

import platform
import subprocess
import sys

import pytest

STEPS = """
import ctypes
import sys
import torch
from defensive_tensorization.system import malloc
class Account(ctypes.Structure):  # mallinfo2(3)
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]
account = ctypes.CDLL(None).mallinfo2
account.restype = Account
def held(size):
    activations = [torch.ones(size // 4) for _ in range(8)]
    del activations
    return account().fordblks  # free bytes that the process holds
sizes = [int(size) for size in sys.argv[1:]]
print(*map(held, sizes))
malloc.keep()
print(*map(held, sizes))
"""
SIZES = (6_000_000, 40_000_000)
LEAST = {6_000_000: "2.33", 40_000_000: "2.36"}


@pytest.fixture(scope="module")
def held() -> dict[int, tuple[int, int]]:
    """By size, what is held after 8 tensors of so many bytes are gone: as it is, and kept."""
    if platform.libc_ver() < ("glibc", LEAST[SIZES[0]]):
        pytest.skip("no mallinfo2")
    run = [sys.executable, "-c", STEPS, *map(str, SIZES)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    left, kept = (map(int, line.split()) for line in done.stdout.splitlines())
    return dict(zip(SIZES, zip(left, kept, strict=True), strict=True))


@pytest.mark.parametrize(
    "size", [SIZES[0], pytest.param(SIZES[1], id="width 64, batch 128 and more")]
)
def test_a_step_s_memory_is_there_for_the_next(size: int, held: dict[int, tuple[int, int]]) -> None:
    if platform.libc_ver() < ("glibc", LEAST[size]):
        pytest.skip("perhaps no limit as large")
    left, kept = held[size]
    assert kept >= 8 * size > left

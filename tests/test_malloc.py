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
if sys.argv[1] == "keep":
    malloc.keep()
activations = [torch.ones(int(sys.argv[2]) // 4) for _ in range(8)]
del activations
print(account().fordblks)  # free bytes that the process holds
"""


def held(how: str, size: int) -> int:
    """After 8 tensors of so many bytes are gone."""
    run = [sys.executable, "-c", STEPS, how, str(size)]
    return int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(
    ("size", "least"),
    [(6_000_000, "2.33"), pytest.param(40_000_000, "2.36", id="width 64, batch 128 and more")],
)
def test_a_step_s_memory_is_there_for_the_next(size: int, least: str) -> None:
    if platform.libc_ver() < ("glibc", least):
        pytest.skip("no mallinfo2, or perhaps no limit as large")
    assert held("keep", size) >= 8 * size > held("leave", size)

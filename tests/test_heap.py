"""Freed memory stays with the process: by glibc's own account, not by time or page faults."""

import platform
import subprocess
import sys

import pytest

STEPS = """
import ctypes
import sys
import torch
from defensive_tensorization import heap
class Account(ctypes.Structure):  # mallinfo2(3)
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]
account = ctypes.CDLL(None).mallinfo2
account.restype = Account
if sys.argv[1] == "keep":
    heap.keep()
activations = [torch.ones(1_500_000) for _ in range(8)]  # 6 MB each
del activations
print(account().fordblks)  # free bytes that the process holds
"""


def held(how: str) -> int:
    run = [sys.executable, "-c", STEPS, how]
    return int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver() < ("glibc", "2.33"), reason="no mallinfo2")
def test_a_step_s_memory_is_there_for_the_next() -> None:
    assert held("keep") > 48_000_000 > held("leave")

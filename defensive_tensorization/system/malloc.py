"""How glibc, where it is the C library, hands memory back to the system: here, hardly ever.

By default every tensor above a growing limit is a mapping of its own, and what was freed at the top
of the heap goes back at once; the system then hands out each page anew, at the price of a fault.
A network's step frees and asks for the same sizes over and over: on a CPU that was a tenth of it.
"""

import ctypes
import sys
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LIMITS = 2**31 - 1, 32 << 20  # in bytes; an older glibc takes none above the second


def keep() -> None:
    """For the rest of this process; results do not change. Elsewhere it does nothing."""
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for limit in LIMITS:
            if mallopt(M_MMAP_THRESHOLD, limit):
                break
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

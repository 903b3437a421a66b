"""Errors a person can act on."""

import errno
import os

_STORAGE = "ENOSPC EDQUOT EFBIG EIO ESTALE EROFS EACCES EPERM ENOTDIR EISDIR EEXIST".split()


class UsageError(ValueError):
    """Bad input from the person: one line with the value, the rule and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """


def of_storage(error: OSError, key: str) -> UsageError | None:
    """One line for a disk that is full, read-only or failing; None for an error of another kind.

    key  the setting that names where the program writes.
    """
    if errno.errorcode.get(error.errno or 0) not in _STORAGE:
        return None
    where = f"{error.filename} cannot be" if error.filename else "a file cannot be read or"
    return UsageError(
        f"{where} written ({os.strerror(error.errno or 0)}): make room or name a writable folder "
        f"with {key}; what was finished is kept, the same command goes on from it"
    )

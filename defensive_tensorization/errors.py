"""Errors a person can act on."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from traceback import walk_tb
from typing import NoReturn

from .system import output

_STORAGE = "ENOSPC EDQUOT EFBIG EIO ESTALE EROFS EACCES EPERM ENOTDIR EISDIR EEXIST".split()
_STORAGE += ["ENAMETOOLONG", "ELOOP"]
_MANY = 20  # names in one line


class UsageError(ValueError):
    """Bad input from the person: one line with the value, the rule and the remedy.

    The command line prints it without a traceback and exits with code 2.
    """


class UnknownName(UsageError, KeyError):
    """No such entry: one line names those that there are."""

    __str__ = ValueError.__str__  # KeyError's would put the line into quotes


class MissingExtra(UsageError, ImportError):
    """A package that an extra of this one installs is not there: one line names the extra."""


def did_you_mean(name: str, known: Iterable[str], all_of_them: str) -> str:
    """Return the remedy for a name that is not there: the nearest, else those there are.

    Args:
        name: what a person wrote.
        known: the names there are.
        all_of_them: where to see them all, such as "make list shows all".
    """
    names = list(known)
    parts = [each for each in names if len(name) > 2 and name.lower() in each.lower()]
    if near := get_close_matches(name, names, 1) or parts[:3]:
        return f"did you mean {' or '.join(near)}? ({all_of_them})"
    more = f" and {len(names) - _MANY} more ({all_of_them})" if len(names) > _MANY else ""
    return f"choose one of {', '.join(names[:_MANY]) or 'none'}{more}"


EXTRAS = {  # top-level modules
    "foolbox": "attacks",
    "pyautoattack": "attacks",
} | dict.fromkeys(
    (
        "filelock hydra jinja2 markdown matplotlib omegaconf PIL sklearn soundfile torchaudio "
        "torchvision tqdm wandb wandb_workspaces"
    ).split(),
    "experiments",
)


def of_missing(error: ModuleNotFoundError) -> MissingExtra | None:
    """One line for a package of an extra; None for any other."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    return MissingExtra(
        f'{package} is not installed: pip install "defensive-tensorization[{EXTRAS[package]}]"'
    )


@contextmanager
def from_extra() -> Iterator[None]:
    """Around an import of an extra's package. Raises MissingExtra where it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise of_missing(error) or error from None


def of_storage(error: OSError, key: str) -> UsageError | None:
    """One line for a disk that is full, read-only or failing; None for an error of another kind.

    key  the setting that names where the program writes.
    """
    making = any(frame.f_code.co_name == "mkdir" for frame, _ in walk_tb(error.__traceback__))
    nowhere = making and error.errno == errno.ENOENT  # below a folder that takes none, as /proc
    if errno.errorcode.get(error.errno or 0) not in _STORAGE and not nowhere:
        return None
    if nowhere:
        return UsageError(f"{error.filename} cannot be made: name a writable folder with {key}")
    where = f"{error.filename} cannot be" if error.filename else "a file cannot be read or"
    return UsageError(
        f"{where} written ({os.strerror(error.errno or 0)}): make room or name a writable folder "
        f"with {key}; what was finished is kept, the same command goes on from it"
    )


@contextmanager
def in_one_line(key: str) -> Iterator[None]:
    """Ends the program with one line and exit code 2 for bad input, storage or a missing extra.

    key  as above.
    """
    try:
        try:
            yield
        except SystemExit:
            output.flush()
            raise
        output.flush()
    except UsageError as error:
        end(f"error: {error}", 2)
    except ModuleNotFoundError as error:
        if (missing := of_missing(error)) is None:
            raise
        end(f"error: {missing}", 2)
    except OSError as error:
        if output.unread(error):
            output.silence()
            sys.exit(output.CODE)
        if (refused := of_storage(error, key)) is None:
            raise
        end(f"error: {refused}", 2)


def end(line: str, code: int) -> NoReturn:
    """Leave the program with a line on standard error, of several processes the first's alone."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        with suppress(OSError):
            print(line, file=sys.stderr)
    sys.exit(code)

"""The end of a program: one line for a person's errors, a traceback for a bug."""

import errno
from collections.abc import Sequence
from pathlib import Path

import pytest

from defensive_tensorization.errors import UsageError, did_you_mean, in_one_line

DISK = OSError(errno.ENOSPC, "No space left on device", "runs/a.pt")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UsageError("theta is wrong: take another"), "theta is wrong: take another"),
        (
            DISK,
            "runs/a.pt cannot be written (No space left on device): make room or name a writable "
            "folder with paths.runs; what was finished is kept, the same command goes on from it",
        ),
        (
            OSError(errno.EROFS, "Read-only file system"),
            "a file cannot be read or written (Read-only file system): make room or name a "
            "writable folder with paths.runs; what was finished is kept, the same command goes on "
            "from it",
        ),
    ],
)
def test_one_line_and_exit_code_2(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, in_one_line("paths.runs"):
        raise error
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_a_folder_that_cannot_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), in_one_line("paths.runs"):
        Path("/proc/nope").mkdir()
    line = "error: /proc/nope cannot be made: name a writable folder with paths.runs\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), OSError(errno.ENOENT, "x")])
def test_a_bug_stays_one(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, in_one_line("paths.runs"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("name", "known", "remedy"),
    [
        ("our_0.9", ("ours_0.9", "ours_0.95", "sap"), "did you mean ours_0.9? (see X)"),
        ("theta0.9", ("net-theta0.9-1", "net-dense-1"), "did you mean net-theta0.9-1? (see X)"),
        ("net", [f"net-real-{i}" for i in range(9)], "did you mean net-real-0 or net-real-1 or "),
        ("nosuch", ("fgsm", "pgd"), "choose one of fgsm, pgd"),
        ("nosuch", (), "choose one of none"),
        (
            "zz",
            list("abcdefghijklmnopqrstuvw"),
            "choose one of a, b, c, d, e, f, g, h, i, j, k, l, ",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_or_a_few(
    name: str, known: Sequence[str], remedy: str
) -> None:
    assert did_you_mean(name, known, "see X").startswith(remedy)

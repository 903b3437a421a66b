"""The command line within this process: a process of its own imports for seconds."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from defensive_tensorization import run


def ended(
    words: Sequence[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[int | str | None, str, str]:
    """Exit code, standard output and standard error of a command that ends by itself in folder.

    What is logged is not among it: pytest takes that, see `caplog`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["defensive_tensorization", *words])
        patch.chdir(folder)
        with pytest.raises(SystemExit) as caught:
            run.main()
    printed = capsys.readouterr()
    return caught.value.code, printed.out, printed.err

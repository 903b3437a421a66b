"""Output that nobody reads any more ends the program quietly, after what is under way is saved."""

import subprocess
import sys

import pytest

LOOP = """
import logging, sys, time
from defensive_tensorization.system import output, signals
from defensive_tensorization.errors import in_one_line
from defensive_tensorization.run import _ended_in_one_line
output.log(logging.INFO)
with _ended_in_one_line():
    with signals.at_batches():
        for i in range(1000):
            logging.getLogger("x").info("line %d", i)
            time.sleep(0.01)
            signals.stop("x")
"""
PRINTS = """
from defensive_tensorization.errors import in_one_line
with in_one_line("paths.runs"):
    {}
"""


@pytest.mark.parametrize(
    "program",
    [
        LOOP,
        PRINTS.format("for i in range(10**6): print(i)"),
        PRINTS.format("import time; print(1, flush=True); time.sleep(0.5); print(2)"),
        PRINTS.format(
            "import sys, time; print(1, flush=True); time.sleep(0.5); print(2); sys.exit()"
        ),
    ],
    ids=["a loop that logs", "much", "at the end", "at an exit"],
)
def test_a_reader_that_leaves(program: str) -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout is not None and run.stderr is not None
    run.stdout.readline()
    run.stdout.close()
    assert run.stderr.read() == ""
    assert run.wait() == 141  # what a shell calls the end by SIGPIPE
    run.stderr.close()


def test_another_broken_pipe_is_a_bug() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS.format("raise BrokenPipeError(32, 'a worker died')")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "a worker died" in done.stderr

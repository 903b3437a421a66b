"""Levels of long work: lines in a log, nested bars on a terminal, and no trace anywhere else."""

import io
import logging
import random
import re
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from defensive_tensorization.system import progress
from defensive_tensorization.system.progress import Level, bar, finished, line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "perf_counter", lambda: self.now)


def test_a_line_names_every_level_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert line() == ""
    with Level("table1", 4, "runs") as table, Level("attacking a", 50, "passes", 10) as run:
        assert line() == "table1 0/4 runs | attacking a 10/50 passes"
        clock.now += 6
        run.step(12)  # half a second each, 28 remain
        assert line() == "table1 0/4 runs | attacking a 22/50 passes, 00:14 left"
        clock.now += 1794
        table.step()  # 1,800 s for the first of four
        assert line().startswith("table1 1/4 runs, 1:30:00 left | attacking a")
    assert line() == ""


def test_what_was_there_already_says_nothing_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with Level("table1", 4, "runs") as table:
        finished()
        assert (table.n, table.left) == (1, None)
        assert list(bar("ab", 2, "run")) == ["a", "b"]
        clock.now += 30
        finished()  # the one that cost time, two remain
        assert (table.n, table.left) == (2, 60)
        finished()
        assert (table.n, table.left) == (3, 30)
    finished()  # outside a table it does nothing


def test_items_pass_as_they_are_and_are_counted_behind_them() -> None:
    seen = [(item, line()) for item in bar(iter("xyz"), 5, "epoch", "epochs", 2)]
    assert [item for item, _ in seen] == ["x", "y", "z"]
    counts = [re.match(r"epoch (\d)/5 epochs", text) for _, text in seen]
    assert [found and found[1] for found in counts] == ["2", "3", "4"]


def test_a_level_that_fails_takes_what_is_open_within_along() -> None:
    inner: Iterator[int] | None = None
    with pytest.raises(KeyError), Level("run", 2, "passes"):
        inner = bar(range(3), 3, "batch")
        next(inner)
        assert line().count("|") == 1
        raise KeyError
    assert line() == ""
    with Level("next", 1, "passes"):
        del inner  # which closes it late
        assert line() == "next 0/1 passes"


def test_a_log_gets_lines_by_the_clock_and_standard_error_nothing(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    assert progress.EVERY == 60
    assert list(bar(range(1000), 1000, "quick")) == list(range(1000))
    assert caplog.messages == []
    monkeypatch.setattr(progress, "EVERY", 0.01)
    with Level("run", 2, "passes"):
        for _ in bar(range(1), 1, "batch"):
            while len(caplog.messages) < 2:  # although nothing is finished
                progress.time.sleep(0.005)
    said = list(caplog.messages)
    assert set(said) <= {"run 0/2 passes", "run 0/2 passes | batch 0/1 batches"}
    progress.time.sleep(0.03)
    assert caplog.messages == said
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_a_level_and_its_log_above_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(progress, "EVERY", 0.001)
    console = logging.StreamHandler(screen)
    monkeypatch.setattr(logging.getLogger(), "handlers", [console])
    for _ in bar(range(2), 2, "table1", "runs"):
        for _ in bar(range(3), 3, "pgd 8, seed 0"):
            logging.getLogger().warning("a line of the log")
    assert logging.getLogger().handlers == [console]
    shown = screen.getvalue()
    assert re.search(r"table1: +50%\|.*\| 1/2 \[00:00<00:00, .* runs/s\]", shown)
    assert re.search(r"\n\rpgd 8, seed 0:   0%\|.*\| 0/3 \[", shown)  # a line below
    assert re.search(r"\r +\r(\x1b\[A)?a line of the log\n", shown)  # not on a bar
    assert caplog.messages == []  # no lines by the clock


@pytest.mark.parametrize("screen", [io.StringIO(), Terminal()])
def test_no_random_generator_moves(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", screen)
    before = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    list(bar(range(5), 5, "batch"))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]

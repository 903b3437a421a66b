"""Signals: noted where batches follow one another, an end at once elsewhere, else left alone."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from defensive_tensorization.system import signals
from defensive_tensorization.system.signals import Stopped, at_batches, listening, noted, stop

BOTH = pytest.mark.parametrize("number", signals.SIGNALS)


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """A shell's background job is born deaf to Ctrl-C, and so would its children be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@BOTH
def test_a_signal_waits_for_the_batch_to_end(number: signal.Signals) -> None:
    done = []
    with pytest.raises(Stopped, match="batch 3") as caught, listening(), at_batches():
        for batch in range(1, 10):
            if batch == 3:
                signal.raise_signal(number)
            done.append(batch)
            stop(f"saved at batch {batch}")
    assert done == [1, 2, 3]
    assert caught.value.code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    name = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}[number]
    assert str(caught.value) == (
        f"stopped by {name}: saved at batch 3; the same command goes on from there"
    )
    assert not noted()


@BOTH
def test_elsewhere_it_ends_at_once(number: signal.Signals) -> None:
    with pytest.raises(Stopped, match="nothing was under way"), listening():
        signal.raise_signal(number)
        raise AssertionError


def test_a_loop_that_never_asks_is_stopped_at_its_end() -> None:
    with pytest.raises(Stopped, match="all that was under way is saved"), listening():
        with at_batches():
            with at_batches():
                signal.raise_signal(signal.SIGTERM)
            reached = True
        raise AssertionError
    assert reached


def test_an_error_of_the_loop_is_not_hidden() -> None:
    with pytest.raises(KeyError), listening(), at_batches():
        signal.raise_signal(signal.SIGTERM)
        raise KeyError


def handled() -> dict[signal.Signals, Any]:
    return {each: signal.getsignal(each) for each in signals.SIGNALS}


def test_handlers_are_put_back_and_the_program_can_stop_again() -> None:
    before = handled()
    for _ in range(2):
        with pytest.raises(Stopped), listening():
            assert handled() != before
            signal.raise_signal(signal.SIGTERM)
        assert handled() == before and not noted()


@pytest.mark.parametrize("theirs", [lambda *_: None, signal.SIG_IGN], ids=["scheduler", "nohup"])
def test_what_others_handle_or_ignore_is_theirs(theirs: Callable[..., None]) -> None:
    old = signal.signal(signal.SIGTERM, theirs)
    try:
        with listening():
            signal.raise_signal(signal.SIGTERM)
            assert not noted()
    finally:
        signal.signal(signal.SIGTERM, old)


def test_without_listening_nothing_is_noted() -> None:
    stop("anything")
    with pytest.raises(KeyboardInterrupt), at_batches():
        signal.raise_signal(signal.SIGINT)
    assert not noted()


@BOTH
def test_a_second_one_kills_at_once(number: signal.Signals) -> None:
    """By the system: the interpreter is not asked, though it is in the middle of something."""
    code = f"""if True:
        import signal, sys
        from defensive_tensorization.system.signals import listening, at_batches
        with listening(), at_batches():
            signal.raise_signal({int(number)})
            print("goes on", flush=True)
            signal.raise_signal({int(number)})
            print("still there", flush=True)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (-number, "goes on\n", "")

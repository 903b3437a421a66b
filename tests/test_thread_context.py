"""Blocks reach the threads that are started inside them, and no others."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event, Thread

import pytest
import torch
from torch import nn

from defensive_tensorization import sketching
from defensive_tensorization.errors import UsageError
from defensive_tensorization.models.batchnorm import Recalibrated
from defensive_tensorization.sketching.thread_context import ThreadContext
from defensive_tensorization.tucker import tensorize
from defensive_tensorization.xnor import sign_gradient
from defensive_tensorization.xnor.sign import chosen


def test_threads_of_a_block() -> None:
    context: ThreadContext[str, int] = ThreadContext("test")
    with context.opened({"a": 1}), context.opened({"b": 2}), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: (context.get("a", 0), context.get("b", 0))).result() == (1, 2)

        def inner() -> list[int]:
            with context.opened({"a": 3}), ThreadPoolExecutor(1) as deeper:
                found = [deeper.submit(context.get, key, 0).result() for key in "ab"]
            return [*found, context.get("a", 0)]

        assert pool.submit(inner).result() == [3, 2, 1]
        assert context.get("a", 0) == 1
    assert (context.get("a", 0), context._open) == (0, ())


def test_a_thread_from_before_is_warned_once_and_not_reached() -> None:
    context: ThreadContext[str, int] = ThreadContext("test")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()
        with context.opened({"a": 1}):
            with pytest.warns(UserWarning, match="another thread is inside a test block") as found:
                assert [pool.submit(context.get, "a", 0).result() for _ in range(3)] == [0] * 3
            assert len(found) == 1
            assert pool.submit(context.get, "b", 0).result() == 0  # not in that block: no warning


def test_between_two_openers_a_thread_is_under_neither() -> None:
    context: ThreadContext[str, int] = ThreadContext("test")
    ready, done = Event(), Event()

    def other() -> None:
        with context.opened({"a": 2, "c": 4}):
            ready.set()
            done.wait(20)

    thread = Thread(target=other)
    thread.start()
    ready.wait(20)
    with context.opened({"a": 1, "b": 3}), ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        stack.callback(done.set)
        with pytest.warns(UserWarning, match="does not reach"):
            assert pool.submit(context.get, "a", 0).result() == 0
        assert [pool.submit(context.get, key, 0).result() for key in "bc"] == [3, 4]
    thread.join()


@pytest.mark.parametrize("context", ["disabled", "frozen", "record"])
def test_a_network_in_a_pool(context: str) -> None:
    torch.manual_seed(0)
    net = tensorize(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)), theta=0.5).eval()
    x = torch.randn(2, 3, 8, 8)
    opened = {
        "disabled": sketching.disabled(net),
        "frozen": sketching.frozen(net, seed=0),
        "record": sketching.record(net),
    }[context]
    with torch.no_grad(), opened as ledger, ThreadPoolExecutor(2) as pool:
        first, second = pool.map(net, [x, x])
        mine = net(x)
    if context == "record":
        assert [len(made) for made in ledger.draws.values()] == [3, 3]
    else:
        assert torch.equal(first, second) and torch.equal(first, mine)


def test_the_sign_gradient_in_a_pool() -> None:
    with ThreadPoolExecutor(1) as before:
        before.submit(int).result()
        with sign_gradient("tanh"), ThreadPoolExecutor(1) as pool:
            assert pool.submit(chosen).result() == "tanh"
            with pytest.warns(UserWarning, match="another thread is inside a sign_gradient block"):
                assert before.submit(chosen).result() == "identity"
    assert chosen() == "identity"


def test_replicas_do_not_share_statistics() -> None:
    net = nn.DataParallel(nn.Sequential(nn.Conv2d(3, 8, 3)))
    with pytest.raises(UsageError, match="put Recalibrated inside DataParallel"):
        Recalibrated(net, torch.randn(4, 3, 8, 8))

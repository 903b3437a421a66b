"""Two processes do what one does: weights, statistics, draws and rows."""

import multiprocessing
import socket
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import ranks
from torch import Tensor


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    where = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")  # torch is imported, which takes longer than all
    both = [context.Process(target=ranks.take_part, args=(r, port, where)) for r in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=120)
        process.kill()
    assert [process.exitcode for process in both] == [0, 0]
    return [torch.load(where / str(r), weights_only=True) for r in range(2)]


@pytest.fixture(scope="module")
def one() -> dict[str, Any]:
    return ranks.everything()


def farthest(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.parametrize("how", ["frozen", "live", "penalty", "r_fgsm", "pgd"])
def test_two_processes_train_what_one_does(
    one: dict[str, Any], two: list[dict[str, Any]], how: str
) -> None:
    assert farthest(one[how], two[0][how]) < 1e-5
    assert farthest(two[0][how], two[1][how]) == 0
    assert farthest(one[how], one["live" if how == "frozen" else "frozen"]) > 1e-3


def test_the_attack_of_training_waits_for_nobody(two: list[dict[str, Any]]) -> None:
    """Its steps differ in number from process to process, and leave no gradient behind."""
    for found in two:
        assert farthest(found["uneven"], found["frozen"]) == 0


def test_local_statistics_are_another_training(
    one: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    assert farthest(one["local"], two[0]["local"]) > 1e-3
    weights = [{n: v for n, v in t["local"].items() if "running" not in n} for t in two]
    assert farthest(*weights) == 0


@pytest.mark.parametrize(("key", "tolerance"), [("norm", 2e-5), ("norm16", 0.2)])
def test_batchnorm_of_two_shares_is_torch_s_of_the_whole(
    two: list[dict[str, Any]], key: str, tolerance: float
) -> None:
    """Values about 100 with a deviation of 3: squares would lose the variance's digits."""
    x = torch.randn(8, 3, 5, generator=torch.Generator().manual_seed(0)) * 3 + 100
    if key == "norm16":
        x = x.bfloat16().float()
    x.requires_grad_()
    weight, mean, variance = torch.linspace(0.5, 2, 3), torch.zeros(3), torch.ones(3)
    out = F.batch_norm(x, mean, variance, weight, torch.zeros(3), training=True)
    (out * torch.arange(1.0, 4)[:, None] * x.sin()).sum().backward()
    assert x.grad is not None
    got = {name: torch.cat([t[key][name] for t in two]).float() for name in ("out", "grad")}
    torch.testing.assert_close(got["out"], out.detach(), atol=tolerance, rtol=1e-5)
    torch.testing.assert_close(got["grad"], x.grad, atol=tolerance * 4, rtol=1e-2)
    for found in two:
        torch.testing.assert_close(found[key]["running_mean"], mean)
        torch.testing.assert_close(found[key]["running_var"], variance)
        assert found[key]["num_batches_tracked"] == 1


def test_draws_are_shared_or_each_process_s_own(
    one: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    assert one["draws"] == two[0]["draws"] == two[1]["draws"]
    assert len({one["draws"], two[0]["own"], two[1]["own"]}) == 3


def test_rows_are_dealt_out_and_come_back_in_order(
    one: dict[str, Any], two: list[dict[str, Any]]
) -> None:
    whole = [(i, str(i)) for i in range(5)]
    assert one["dealt"] == [[0, 1, 2, 3, 4]] * 2
    assert [found["dealt"] for found in two] == [[[0, 2, 4], [1, 3]], [[1, 3], [0, 2, 4]]]
    for found in (one, *two):
        assert [[tuple(pair) for pair in hand] for hand in found["exchanged"]] == [whole, whole]
        assert found["told"] == "by 0"


def test_what_cannot_be_shared_is_refused(one: dict[str, Any], two: list[dict[str, Any]]) -> None:
    started = "start it with torchrun --nproc-per-node=3 -m defensive_tensorization ..."
    assert one["refused"] == [f"train.parallel.processes=3, but 1 run: {started}"]
    for found in two:
        assert found["refused"] == [
            f"train.parallel.processes=3, but 2 run: {started}",
            "a batch of 5 has no 2 equal shares: take a train.batch_size that the number of "
            "processes divides",
        ]

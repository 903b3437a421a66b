"""A compiled training step: one graph, the same draws, the same weights."""

from functools import partial

import pytest
import torch
import torch._dynamo
from helpers.fake_task import split, task
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.config import check
from defensive_tensorization.models.batchnorm import DrawBatchNorm2d
from defensive_tensorization.training.compile import compiled
from defensive_tensorization.training.loop import train
from defensive_tensorization.training.schedule import Schedule
from defensive_tensorization.tucker import TuckerConv2d


def network() -> nn.Module:
    torch.manual_seed(0)
    first = TuckerConv2d.from_conv(nn.Conv2d(3, 8, 3, bias=False), 0.7, init="random")
    second = TuckerConv2d.from_conv(nn.Conv2d(8, 6, 3), 0.7, init="random")
    last = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    return nn.Sequential(first, DrawBatchNorm2d(8), nn.ReLU(), second, *last)


def learnt(mode: str | None) -> tuple[dict[str, Tensor], list[float]]:
    net, data = network(), split(64)
    plan = Schedule(2, 16, (0.5,), 0.1, compile=mode)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    history = train(net, task(data, data), plan, optimizer, 0).history
    return net.state_dict(), [line["loss"] for line in history]


def test_random_kernels_break_no_graph() -> None:
    net, x = network().train(), torch.rand(4, 3, 8, 8)
    with sketching.drawn(net, x.device, len(x)):
        found = torch._dynamo.explain(net)(x)
    assert (found.graph_count, found.graph_break_count) == (1, 0)


def test_a_graph_meets_the_draws_of_plain_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, where the graph runs the same operations: new draws at every step."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    torch._dynamo.reset()
    (plain, losses), (made, graphs) = learnt(None), learnt("default")
    assert losses == graphs
    assert plain.keys() == made.keys()
    assert all(torch.equal(plain[name], made[name]) for name in plain)
    step = compiled(network().train(), "default")
    x = torch.rand(4, 3, 8, 8)
    assert not torch.equal(step(x), step(x))


def test_the_configuration_s_modes_are_torch_s() -> None:
    assert set(check._COMPILE) <= set(torch._inductor.list_mode_options())


@pytest.mark.slow
def test_compiled_kernels_learn_alike() -> None:
    torch._dynamo.reset()
    (plain, _), (made, _) = learnt(None), learnt("default")
    for name in plain:
        torch.testing.assert_close(plain[name], made[name], rtol=1e-3, atol=1e-4)

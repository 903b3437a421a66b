"""Optimizers without torch.compile's tracer: torch's own, to the bit, and quick to import."""

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from defensive_tensorization.training.optimizer import untraced

OPTIONS: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (torch.optim.SGD, {}),
    (torch.optim.SGD, {"momentum": 0.9}),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}),
    (torch.optim.SGD, {"momentum": 0.8, "dampening": 0.3, "maximize": True}),
    (torch.optim.SGD, {"momentum": 0.9, "foreach": True}),
    (torch.optim.SGD, {"weight_decay": 1e-3, "foreach": False}),
    (torch.optim.Adam, {}),
    (torch.optim.Adam, {"weight_decay": 1e-2, "amsgrad": True}),
    (torch.optim.AdamW, {"betas": (0.8, 0.99)}),
]


def stepped(net: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> list[Tensor]:
    for seed in steps:
        x = torch.randn(4, 5, generator=torch.Generator().manual_seed(seed))
        net(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        optimizer.param_groups[0]["lr"] *= 0.9
    return [p.detach().clone() for p in net.parameters()]


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_equal_to_torch_s_to_the_bit(kind: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))
    other = copy.deepcopy(net)
    theirs = kind(net.parameters(), lr=0.1, **options)
    ours = untraced(kind)(other.parameters(), lr=0.1, **options)
    assert isinstance(ours, kind)
    for a, b in zip(stepped(net, theirs, range(4)), stepped(other, ours, range(4)), strict=True):
        assert torch.equal(a, b)
    left, right = theirs.state_dict(), ours.state_dict()
    assert left.keys() == right.keys() and left["param_groups"] == right["param_groups"]
    for key, state in left["state"].items():
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(right["state"][key][name]))
    theirs.load_state_dict(copy.deepcopy(right))  # either reads the other's
    ours.load_state_dict(copy.deepcopy(left))
    for a, b in zip(
        stepped(net, theirs, range(4, 7)), stepped(other, ours, range(4, 7)), strict=True
    ):
        assert torch.equal(a, b)


def test_a_closure_may_take_gradients() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = untraced(torch.optim.SGD)([weight], lr=0.5)

    def loss() -> Tensor:
        value = weight.square().sum()
        value.backward()
        return value

    assert optimizer.step(loss).item() == 2 and weight.tolist() == [0, 0]
    assert torch.is_grad_enabled()


def test_what_is_not_torch_s_stays() -> None:
    class Mine(torch.optim.SGD):
        pass

    assert untraced(Mine) is Mine
    assert untraced(torch.optim.SGD) is untraced(torch.optim.SGD)


STEP = """
import sys, torch
from defensive_tensorization.training.optimizer import untraced
for kind in (torch.optim.SGD, torch.optim.Adam):
    net = torch.nn.Linear(3, 2)
    made = untraced(kind)(net.parameters(), lr=0.1)
    net(torch.ones(1, 3)).sum().backward()
    made.step()
    made.zero_grad()
    made.load_state_dict(made.state_dict())
print("torch._dynamo" in sys.modules)
torch.optim.SGD(net.parameters(), lr=0.1)
print("torch._dynamo" in sys.modules)
"""


def test_the_tracer_is_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]

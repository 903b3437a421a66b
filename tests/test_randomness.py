"""Randomness told by behaviour: every source, whether seeds fix it, whose state it leaves alone."""

import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from defensive_tensorization.randomness import Randomness, detect, seeded
from defensive_tensorization.sketching.draws import Uniform
from defensive_tensorization.tucker import TuckerConv2d


class Front(nn.Module):
    """A linear classifier behind `change`; `held` stands for what a module keeps."""

    def __init__(self, change: Callable[[Any, Tensor], Tensor], held: Any = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
        self.change = change
        self.held = held
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.network(self.change(self, x))
        return made


class Crop:
    def __init__(self, rng: Any) -> None:
        self.rng = rng


def closing(rng: np.random.Generator) -> Callable[[], float]:
    return lambda: float(rng.random())


SCRIPT = np.random.default_rng(0)  # as a script has it at its top


def from_the_script() -> float:
    return max(SCRIPT.random() for _ in range(2))


class Naming(Front):
    """Draws from a global variable, by a function of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * from_the_script())


class Shared(Front):
    """Draws from a generator of its class."""

    rng = random.Random(0)

    @staticmethod
    def size(rng: np.random.RandomState = np.random.RandomState(0)) -> float:  # noqa: B008
        return float(rng.rand())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.rng.random() * self.size())


def counting(self: Any, x: Tensor) -> Tensor:
    self.calls += 1
    return x * (1 + self.calls % 2)


def reseeding(self: Any, x: Tensor) -> Tensor:
    torch.manual_seed(7)
    return x + torch.randn_like(x)


TORCH = "torch's global generators"
NUMPY = "numpy's global generator"
PYTHON = "Python's global generator"
OWN = "generators of the model (Front)"
FOUND: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...], bool]] = {
    "noise": (lambda: Front(lambda _, x: x + torch.randn_like(x)), (TORCH,), False),
    "one for a batch": (lambda: Front(lambda _, x: x + torch.randn(x.shape[1:])), (TORCH,), True),
    "a rare coin": (lambda: Front(lambda _, x: x * (random.random() < 0.5)), (PYTHON,), True),
    "numpy": (lambda: Front(lambda _, x: x * float(np.random.rand())), (NUMPY,), True),
    "python": (lambda: Front(lambda _, x: x * random.choice([1, 2, 3])), (PYTHON,), True),
    "two": (
        lambda: Front(lambda _, x: x * random.random() + torch.rand(()) * np.random.rand()),
        (TORCH, NUMPY, PYTHON),
        True,
    ),
    "own torch": (
        lambda: Front(lambda m, x: x + torch.rand((), generator=m.held), torch.Generator()),
        (OWN,),
        True,
    ),
    "own numpy": (
        lambda: Front(lambda m, x: x * m.held[0].rng.random(), [Crop(np.random.default_rng(0))]),
        (OWN,),
        True,
    ),
    "old numpy": (
        lambda: Front(lambda m, x: x * m.held["a"].rand(), {"a": np.random.RandomState(0)}),
        (OWN,),
        True,
    ),
    "own python": (
        lambda: Front(lambda m, x: x * m.held.rng.random(), Crop(random.Random(0))),
        (OWN,),
        True,
    ),
    "a closure's": (
        lambda: Front(lambda m, x: x * m.held(), closing(np.random.default_rng(0))),
        (OWN,),
        True,
    ),
    "a global variable": (
        lambda: Naming(lambda _, x: x),
        ("generators of the model (Naming)",),
        True,
    ),
    "a class's, a default argument": (
        lambda: Shared(lambda _, x: x),
        ("generators of the model (Shared)",),
        True,
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_source_is_found_by_what_it_changes(name: str) -> None:
    make, names, shared = FOUND[name]
    found = detect(make(), torch.rand(5, 3, 2, 2))
    assert (found.sources, found.controlled, found.shared) == (names, True, shared)
    assert found.random and all(each in str(found) for each in names)


@pytest.mark.parametrize(
    "change",
    [
        lambda _, x: x + os.urandom(1)[0],
        lambda _, x: x * random.SystemRandom().random(),
        counting,
    ],
    ids=["system", "SystemRandom", "counter"],
)
def test_what_no_seed_reaches_is_said(change: Any) -> None:
    found = detect(Front(change), torch.rand(5, 3, 2, 2))
    assert found.random and not found.controlled and "wider" in str(found)


class Stepping(Front):
    """Turns its answers around in the calls that `turned` names, numbered from 1."""

    def __init__(self, turned: Callable[[int], bool]) -> None:
        super().__init__(lambda _, x: x)
        self.turned = turned

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * (-1 if self.turned(self.calls) else 1)


@pytest.mark.parametrize("period", range(2, 17))
def test_a_counter_is_no_seed_s_work_whatever_its_period(period: int) -> None:
    found = detect(Stepping(lambda call: call % period == 0), torch.rand(5, 3, 2, 2))
    assert found.random and not found.controlled and found.sources == ()


@pytest.mark.parametrize("last", range(1, 17))
def test_a_counter_that_turns_once_is_no_seed_s_work(last: int) -> None:
    found = detect(Stepping(lambda call: call > last), torch.rand(5, 3, 2, 2))
    assert found.random and not found.controlled and found.sources == ()


@pytest.mark.parametrize("change", [lambda _, x: x, reseeding], ids=["plain", "reseeding"])
def test_what_answers_alike_is_deterministic(change: Any) -> None:
    assert detect(Front(change), torch.rand(5, 3, 2, 2)) == Randomness()


def test_dropout_counts_as_it_is_left() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 3))
    assert detect(model, torch.rand(5, 3, 2, 2)).sources == (TORCH,)
    assert not detect(model.eval(), torch.rand(5, 3, 2, 2)).random


def test_this_project_s_draws_are_a_source() -> None:
    conv = TuckerConv2d.from_conv(nn.Conv2d(3, 8, 2), 0.5, init="random")
    found = detect(nn.Sequential(conv, nn.Flatten()), torch.rand(5, 3, 2, 2))
    assert found == Randomness(("the draws of this project's layers",), True, True)


def everything(model: nn.Module) -> list[Any]:
    draws = {str(d): g.get_state().tolist() for d, g in model.sketch._generators.items()}  # type: ignore[union-attr, operator]
    return [
        torch.get_rng_state().tolist(),
        [part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()],
        random.getstate(),
        model.held.bit_generator.state,  # type: ignore[union-attr]
        draws,
    ]


def greedy() -> nn.Module:
    """Draws from everything."""

    def change(m: Any, x: Tensor) -> Tensor:
        [drawn] = m.sketch.draw(x.device, len(x), size=1) or ()
        return x * random.random() * np.random.rand() * m.held.random() + torch.rand(()) * drawn

    model = Front(change, np.random.default_rng(0))
    model.sketch = Uniform()
    return model


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**63 - 1), before=st.integers(0, 3))
def test_the_caller_s_random_state_is_as_before(seed: int, before: int) -> None:
    model, x = greedy(), torch.rand(2, 3, 2, 2)
    for _ in range(before):
        model(x)
    was = everything(model)
    detect(model, x)
    assert everything(model) == was
    with seeded(model, seed, "one"):
        one = model(x)
    with pytest.raises(KeyError), seeded(model, seed, "one"):
        assert torch.equal(model(x), one)  # common random numbers
        raise KeyError
    with seeded(model, seed, "two"):
        assert not torch.equal(model(x), one)
    assert everything(model) == was


def test_what_the_rounding_of_a_device_changes_is_no_randomness() -> None:
    """As atomic additions do: equal seeds differ in the last digits."""

    def last_digit(m: Any, x: Tensor) -> Tensor:
        m.calls += 1
        return x * (1 + 1e-6 * (m.calls % 2))

    assert not detect(Front(last_digit), torch.rand(5, 3, 2, 2)).random

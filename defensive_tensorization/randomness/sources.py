"""The random generators that a model can draw from, each with a state that can be read and set.

sketches            the private generators of this project's layers
torch               torch's global generators, on the CPU and on every device in use
numpy, python       the global generators of numpy and of the module `random`
own                 generators that the model's modules hold, in attributes or in what these hold
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..sketching import control
from ..system.alone import ALONE
from .holdings import generators


@dataclass(frozen=True)
class Source:
    """One generator, or several that are seeded together.

    label  enters the seed, so that a source has a stream of its own.
    """

    name: str
    label: str
    get: Callable[[], Any]
    set: Callable[[Any], None]
    seed: Callable[[int], None]


def sources(model: nn.Module) -> list[Source]:
    """Everything that can be seeded, whether the model draws from it or not."""
    return [_sketches(model), _torch(), _numpy(), _python(), *_own(model)]


@contextmanager
def kept(found: list[Source]) -> Iterator[None]:
    """The states after the block are those before it. Blocks of other threads wait for its end."""
    with ALONE:
        states = [source.get() for source in found]
        try:
            yield
        finally:
            for source, state in zip(found, states, strict=True):
                source.set(state)


@contextmanager
def seeded(model: nn.Module, seed: int, label: str) -> Iterator[None]:
    """In the block every source is on a stream of its own, which seed and label name.

    Two blocks of the same seed and label meet common random numbers. Nothing of the caller's
    random state is changed.
    """
    found = sources(model)
    with kept(found):
        for source in found:
            source.seed(control.stream(seed, label, source.label))
        yield


def _sketches(model: nn.Module) -> Source:
    found = list(control.sketches(model).values())

    def get() -> list[tuple[int | None, dict[torch.device, torch.Tensor]]]:
        return [
            (each._seed, {d: g.get_state() for d, g in each._generators.items()}) for each in found
        ]

    def put(states: list[tuple[int | None, dict[torch.device, torch.Tensor]]]) -> None:
        for each, (seed, generators_) in zip(found, states, strict=True):
            each._seed = seed
            each._generators.clear()
            for device, state in generators_.items():
                each._generators[device] = torch.Generator(device)
                each._generators[device].set_state(state)

    return Source(
        "the draws of this project's layers", "defence", get, put, lambda s: control.seed(model, s)
    )


def _torch() -> Source:
    def get() -> tuple[torch.Tensor, dict[str, Any]]:
        devices: dict[str, Any] = {}
        if torch.cuda.is_initialized():
            devices["cuda"] = torch.cuda.get_rng_state_all()
        if torch.backends.mps.is_available():
            devices["mps"] = torch.mps.get_rng_state()
        return torch.get_rng_state(), devices

    def put(states: tuple[torch.Tensor, dict[str, Any]]) -> None:
        here, devices = states
        torch.set_rng_state(here)
        if "cuda" in devices:
            torch.cuda.set_rng_state_all(devices["cuda"])
        if "mps" in devices:
            torch.mps.set_rng_state(devices["mps"])

    return Source("torch's global generators", "attack", get, put, _seed_torch)


def _seed_torch(value: int) -> None:
    """torch.manual_seed would also leave a seed for a device that is not in use yet."""
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(value)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(value)


def _numpy() -> Source:
    return Source(
        "numpy's global generator",
        "numpy",
        np.random.get_state,
        np.random.set_state,
        lambda value: np.random.seed(value % 2**32),
    )


def _python() -> Source:
    return Source(
        "Python's global generator", "python", random.getstate, random.setstate, random.seed
    )


def _own(model: nn.Module) -> list[Source]:
    """One for each module that holds generators; a generator that two hold is the first's."""
    found, seen = [], {id(torch.default_generator), id(random._inst)}
    for name, module in model.named_modules():
        held = [each for each in generators(module) if id(each) not in seen]
        seen.update(id(each) for each in held)
        if held:
            title = f"generators of {name or 'the model'} ({type(module).__name__})"
            found.append(_of(held, title, f"own {name}"))
    return found


def _of(held: list[Any], title: str, label: str) -> Source:
    def get() -> list[Any]:
        return [_state(each) for each in held]

    def put(states: list[Any]) -> None:
        for each, state in zip(held, states, strict=True):
            _restore(each, state)

    def seed(value: int) -> None:
        for place, each in enumerate(held):
            _seed(each, control.stream(value, place))

    return Source(title, label, get, put, seed)


def _state(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state()


def _restore(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)


def _seed(generator: Any, value: int) -> None:
    if isinstance(generator, np.random.Generator):
        bits: Any = type(generator.bit_generator)
        generator.bit_generator.state = bits(value).state
    elif isinstance(generator, torch.Generator):
        generator.manual_seed(value)
    else:
        generator.seed(value % 2**32)

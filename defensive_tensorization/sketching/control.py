"""Who controls the draws of a model: of its sketches, and of whatever else `RandomState`.

By default they are live, in training and in evaluation alike; the context managers below change
that for one model until the block ends, in the current thread and in those that it starts inside
the block (`thread_context`). A forward that is run again for its gradient meets the draws, and the
contexts, of the first one (`recompute`):

    frozen(model, seed=0)      the same draw at every forward
    disabled(model)            no draws: the weights at theta = 1
    per_sample(model)          every example of a batch has a draw of its own
    draws_per_batch(model, 5)  so has each fifth of a batch: five forwards in one
    drawn(model, device, n)    the draws of one forward, made before it
    record(model)              write the draws down; replay(model, ledger) uses them again
    repeat(model, ledger)      the same, as a part of the forward that was recorded
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .draws import EACH, LIVE, Control, Drawn, RandomState, controls


@dataclass
class Ledger:
    """The draws of a recorded block, by layer name, in the order in which they were made."""

    draws: dict[str, list[Drawn | None]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, list[list[list[Any] | None] | None]]:
        """Plain lists of numbers, 0 and 1 for masks, ready for JSON."""

        def whole(x: Tensor) -> Tensor:
            return x.int() if torch.equal(x, x.round()) else x

        def plain(m: Drawn | None) -> list[list[Any] | None] | None:
            return None if m is None else [None if x is None else whole(x).tolist() for x in m]

        return {name: [plain(m) for m in made] for name, made in self.draws.items()}

    @classmethod
    def from_dict(cls, plain: dict[str, list[list[list[Any] | None] | None]]) -> Ledger:
        def masks(m: list[list[Any] | None] | None) -> Drawn | None:
            if m is None:
                return None
            return tuple(None if x is None else torch.tensor(x).float() for x in m)

        return cls({name: [masks(m) for m in made] for name, made in plain.items()})


def sketches(model: nn.Module) -> dict[str, RandomState]:
    """What draws in a model, by layer name; a shared layer appears once."""
    found: dict[str, RandomState] = {}
    for name, module in model.named_modules():
        sketch = getattr(module, "sketch", None)
        if isinstance(sketch, RandomState) and sketch not in found.values():
            found[name] = sketch
    return found


def seed(model: nn.Module, value: int) -> None:
    """Start every layer's private generator anew, each on a stream of its own."""
    value = whole_seed(value)
    for index, sketch in enumerate(sketches(model).values()):
        sketch.seed(stream(value, index))


def rng_states(model: nn.Module) -> dict[str, Tensor]:
    """Where the private generators stand, by layer; those not yet begun are not among them."""
    return {
        f"{name} {device.type}": generator.get_state()
        for name, sketch in sketches(model).items()
        for device, generator in sketch._generators.items()
    }


def rewind(model: nn.Module, states: Mapping[str, Tensor], device: torch.device) -> None:
    """Put every layer's generator on the device back to where `rng_states` found it."""
    for name, sketch in sketches(model).items():
        sketch._generators.pop(device, None)
        if f"{name} {device.type}" in states:
            generator = torch.Generator(device)
            generator.set_state(states[f"{name} {device.type}"].cpu())
            sketch._generators[device] = generator


def whole_seed(seed: object) -> int:
    """A whole number of any type as an int: equal seeds are the same seed.

    Raises:
        UsageError: for anything else.
    """
    try:
        return int(operator.index(seed))  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"a seed must be a whole number, got {seed!r}: such as 0") from None


def stream(*keys: int | str) -> int:
    """An independent 63-bit seed for each tuple of keys."""
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def _controlled(model: nn.Module, change: Callable[[int, str, Control], Control]) -> Iterator[None]:
    changed = {
        sketch: change(index, name, controls.get(sketch, LIVE, warn=False))
        for index, (name, sketch) in enumerate(sketches(model).items())
    }
    with controls.opened(changed):
        yield


def frozen(model: nn.Module, *, seed: int) -> AbstractContextManager[None]:
    """One draw per layer, made from `seed`, used at every forward of the block."""
    seed = whole_seed(seed)
    return _controlled(
        model,
        lambda i, _, c: replace(c, enabled=True, replay=None, frozen={}, seed=stream(seed, i)),
    )


def disabled(model: nn.Module) -> AbstractContextManager[None]:
    """No draws: the full weights, theta = 1 (the omniscient attacker's), all activations."""
    return _controlled(model, lambda i, _, c: replace(c, enabled=False, replay=None))


def per_sample(model: nn.Module) -> AbstractContextManager[None]:
    """Every example of a batch has a draw of its own."""
    return _controlled(model, lambda i, _, c: replace(c, draws_per_batch=EACH))


def draws_per_batch(model: nn.Module, count: int) -> AbstractContextManager[None]:
    """Each of `count` equal parts of a batch, one after the other, has a draw of its own.

    Within `draws_per_batch` each part is parted again; within `per_sample` nothing changes.
    """
    if count < 1:
        raise UsageError(f"a batch has at least one part, got {count}")
    return _controlled(model, lambda i, _, c: replace(c, draws_per_batch=c.draws_per_batch * count))


@contextmanager
def drawn(model: nn.Module, device: torch.device, batch: int) -> Iterator[None]:
    """The draws of one forward of `batch` examples, made now; in the block each layer uses its own.

    For graphs that no generator may enter (torch.compile, CUDA graphs). The numbers are those that
    the forward would have drawn itself, in a model that passes each layer once.
    """
    found = sketches(model).values()
    for sketch in found:
        sketch.ahead = (sketch.draw(device, batch),)
    try:
        yield
    finally:
        for sketch in found:
            sketch.ahead = ()


def is_random(model: nn.Module) -> bool:
    """Whether the model draws anything while no block holds, repeats or disables its draws."""
    return any(sketch.random for sketch in sketches(model).values())


def is_live(model: nn.Module) -> bool:
    """Whether two forwards, here and now, can meet different draws."""
    found = [(s, controls.get(s, LIVE, warn=False)) for s in sketches(model).values()]
    return any(s.random and c.enabled and c.frozen is None and c.replay is None for s, c in found)


@contextmanager
def record(model: nn.Module) -> Iterator[Ledger]:
    """Write down every draw of the block."""
    ledger = Ledger({name: [] for name in sketches(model)})
    with _controlled(model, lambda _, name, c: replace(c, record=(*c.record, ledger.draws[name]))):
        yield ledger


def repeat(model: nn.Module, ledger: Ledger) -> AbstractContextManager[None]:
    """As replay, but an outer `record` does not write these draws down once more."""
    draws = ledger.draws
    return _controlled(model, lambda _, name, c: replace(c, replay=iter(draws[name]), record=()))


def replay(model: nn.Module, ledger: Ledger) -> AbstractContextManager[None]:
    """Use the ledger's draws again, layer by layer, in their order."""
    missing = sketches(model).keys() ^ ledger.draws.keys()
    if missing:
        raise UsageError(
            f"the ledger and the model differ in layer {min(missing)!r}: record this model"
        )
    return _controlled(model, lambda _, name, c: replace(c, replay=iter(ledger.draws[name])))

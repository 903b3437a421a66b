"""What a layer draws at every forward, from a generator of its own.

Draws neither read nor move torch's global random state. `sketching` says who controls them.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError
from . import eager, in_graph, recompute
from .thread_context import ThreadContext

Drawn = tuple[Tensor | None, ...]
"""The tensors of one draw, each with the examples, or parts of the batch, first where each has
its own."""

Held = tuple[torch.device, int | None, int]
"""What a frozen draw depends on beside its seed: device, examples, size."""


def draws_in(drawn: Drawn | None) -> int | None:
    """Of how many parts it holds the draws; None: of one, shared by all."""
    found = next((d for d in drawn or () if d is not None), None)
    return None if found is None or found.ndim == 1 else len(found)


def spread(drawn: Drawn, each: int) -> Drawn:
    """The draws of parts for `each` example of theirs."""
    if each == 1:
        return drawn
    return tuple(None if d is None else d.repeat_interleave(each, 0) for d in drawn)


class PartDraw(tuple[Tensor | None, ...]):
    """The draw of one part, which knows those of all parts: [parts, ...] each."""

    whole: Drawn


def one_of(drawn: Drawn, part: int) -> PartDraw:
    """The draw of one part; a draw that all parts share is that of each."""
    made = PartDraw(d if d is None or d.ndim == 1 else d[part] for d in drawn)
    made.whole = drawn
    return made


EACH = 0  # every example is a part


@dataclass(frozen=True)
class Control:
    """What the contexts in force make of a layer's draws.

    draws_per_batch  how many equal parts of a batch, one after the other, have their own draw.
    part  None, or the part whose draw the whole of a forward meets: the others' are for later ones.
    """

    enabled: bool = True
    draws_per_batch: int = 1
    part: int | None = None
    seed: int = 0
    frozen: dict[Held, Drawn] | None = None
    record: tuple[list[Drawn | None], ...] = ()
    replay: Iterator[Drawn | None] | None = None


LIVE = Control()
controls: ThreadContext[RandomState, Control] = ThreadContext("sketching")


class RandomState(ABC):
    """The attribute `sketch` of a layer that draws; `_sample` says what."""

    def __init__(self) -> None:
        self.ahead: tuple[Drawn | None, ...] = ()  # a draw made before its forward, by `drawn`
        self._seed: int | None = None
        self._generators: dict[torch.device, torch.Generator] = {}
        self.calls = torch.zeros((), dtype=torch.int64)  # from compiled graphs
        self.number = in_graph.know(self)

    @property
    def mask_sizes(self) -> list[int] | None:
        """The size of each mask, 0 for none; None: they depend on the input."""
        return None

    @property
    def unmasked(self) -> float:
        """What stands in the first mask of a graph where nothing is drawn."""
        return 1.0

    def flat(self, device: torch.device, size: int) -> Tensor:
        """What a compiled graph meets at one call: the masks one after the other, [size]."""
        if controls.get(self, LIVE).draws_per_batch != 1:
            in_graph.refuse_parts()
        drawn = self.draw(device)
        if drawn is not None:
            return torch.cat([d for d in drawn if d is not None])
        full = torch.ones(size, device=device)
        full[: next(n for n in self.mask_sizes or () if n)] = self.unmasked
        return full

    @property
    @abstractmethod
    def random(self) -> bool:
        """Whether two draws can differ."""

    @abstractmethod
    def _sample(
        self, generator: torch.Generator, device: torch.device, batch: int | None, size: int
    ) -> Drawn:
        """One draw for all examples (batch=None) or for each of `batch`."""

    def seed(self, value: int) -> None:
        self._seed = value
        self._generators.clear()

    def draw(
        self,
        device: torch.device,
        batch: int | None = None,
        *,
        size: int = 0,
        whole: bool = False,
    ) -> Drawn | None:
        """The draw of one forward over `batch` examples; None means nothing is random.

        size   how much a layer needs whose draws depend on its input's size.
        whole  the draws of parts as they are, [parts, ...], and not repeated for each example.
        """
        if torch.compiler.is_dynamo_compiling():
            return in_graph.draw(self, device, batch, size, whole)
        control = controls.get(self, LIVE)
        shared = control.draws_per_batch == 1 or batch == 0  # no examples: one draw, unused
        lead = None if shared else control.draws_per_batch or batch
        if recompute.ordinary():
            drawn = self._decide(control, device, lead, size)
        else:
            drawn = recompute.met(
                self, lambda lost: self._decide(control, device, lead, size, lost)
            )
        there = draws_in(drawn)
        if drawn is None or there is None:
            return drawn
        if control.part is not None and there == lead:
            return one_of(drawn, control.part)
        if batch is None:
            return drawn
        if control.replay is not None and there not in (lead, batch):
            raise UsageError(f"a replayed draw has {there} parts, here are {lead or 1}")
        if batch % there:
            raise UsageError(f"{batch} examples have no {there} equal parts: each draws by itself")
        return drawn if whole else spread(drawn, batch // there)

    def _decide(
        self,
        control: Control,
        device: torch.device,
        batch: int | None,
        size: int,
        lost: bool = False,
    ) -> Drawn | None:
        """What the controls make of one call; `lost`: of a recomputed one whose first is lost."""
        if self.ahead and not size:
            return self.ahead[0]
        drawn = self._draw(control, device, batch, size, lost)
        for made in control.record:
            made.append(drawn)
        return drawn

    def _draw(
        self, control: Control, device: torch.device, batch: int | None, size: int, lost: bool
    ) -> Drawn | None:
        if control.replay is not None:
            try:
                drawn = next(control.replay)
            except StopIteration:
                raise UsageError(
                    "the ledger holds fewer draws than this block makes: record the same forwards"
                ) from None
            return drawn and tuple(None if d is None else d.to(device) for d in drawn)
        if not (control.enabled and self.random):
            return None
        if control.frozen is None:
            eager.refuse_live(lost)
            return self._sample(self._generator(device), device, batch, size)
        held = (device, batch, size)
        if held not in control.frozen:
            generator = torch.Generator(device).manual_seed(control.seed)
            with eager.plain():
                made = self._sample(generator, device, batch, size)
            control.frozen.setdefault(held, made)
        return control.frozen[held]

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            generator = torch.Generator(device)
            if self._seed is None:
                generator.seed()
            else:
                generator.manual_seed(self._seed)
            self._generators.setdefault(device, generator)  # another thread may have been quicker
        return self._generators[device]

    def __deepcopy__(self, memo: dict[int, Any]) -> RandomState:
        copied = copy.copy(self)
        copied._generators = {d: g.clone_state() for d, g in self._generators.items()}
        copied.calls, copied.number = self.calls.clone(), in_graph.know(copied)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_generators": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.number = in_graph.know(self)


class Uniform(RandomState):
    """`size` independent numbers, uniform in [0, 1): one tensor, [size] or [batch, size]."""

    @property
    def random(self) -> bool:
        return True

    def _sample(
        self, generator: torch.Generator, device: torch.device, batch: int | None, size: int
    ) -> Drawn:
        shape = (size,) if batch is None else (batch, size)
        return (torch.rand(shape, generator=generator, device=device),)

"""Whether a model is random, told by its behaviour: the same input again, under equal seeds or not.

A model is *random* if its answers change where nothing but the seeds does, at the images or beside
them: some defences draw only for inputs that look attacked. It is *controlled* if
equal seeds of every known source give equal answers: then two measurements can meet common random
numbers. A model that keeps a counter, or asks the operating system, is random and not controlled.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from .sources import Source, kept, sources

IMAGES = 8  # the model is asked about so many
ASKS = 12  # forwards that may differ: a coin that a forward tosses stays hidden in 1 of 2,000
AGAIN = 3  # forwards under equal seeds


@dataclass(frozen=True)
class Randomness:
    """What was found.

    sources     names of the generators that change the answers by themselves.
    controlled  whether equal seeds give equal answers.
    shared      whether the images of a batch meet one draw; None: nothing is random.
    """

    sources: tuple[str, ...] = ()
    controlled: bool = True
    shared: bool | None = None

    @property
    def random(self) -> bool:
        return bool(self.sources) or not self.controlled

    def __bool__(self) -> bool:
        return self.random

    def __str__(self) -> str:
        if self == AT_EXAMPLES:
            return (
                "random at examples of attacks, not at the images nor beside them; by which source "
                "is not known, so comparisons are of different draws"
            )
        if not self.random:
            return "deterministic: the same input gives the same answers under any seed"
        shared = "one draw for a batch" if self.shared else "every image its own draw"
        if not self.controlled:
            return (
                f"random, {shared}; equal seeds do not give equal answers (a generator that cannot "
                "be seeded, or a state that forwards change): comparisons are of different draws, "
                "and their intervals are wider"
            )
        return f"random, {shared}: {', '.join(self.sources)}; equal seeds give equal answers"

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "sources": list(self.sources), "words": str(self)}


AT_EXAMPLES = Randomness(("an unknown source, at examples of attacks",), False, True)
"""Of a model whose answers vary at examples alone; of what is not known, the more careful."""


def detect(model: nn.Module, *asked: Tensor) -> Randomness:
    """What the answers to inputs [B, ...] depend on, in the model's present mode.

    About twenty forwards of a few images for each of `asked`: the images, and others beside them.
    The random state is as before; a state that the model itself keeps in buffers or attributes is
    not.
    """
    found = sources(model)
    with kept(found), torch.no_grad():
        return reduce(_joined, [_detected(model, x[:IMAGES].detach(), found) for x in asked])


def varies(model: nn.Module, x: Tensor, *, exactly: bool = False) -> bool:
    """Whether the answers to x [B, ...] differ by more than rounding, where the draws go on.

    Twice about all, and about two images as often as it takes to see a rare draw. exactly: by
    anything at all, as an attack asks: to take small draws for rounding would weaken it.
    """
    with torch.no_grad():
        for at, again in ((x, 1), (x[:2], ASKS)):
            first: Tensor = model(at.clone()).clone()
            least = 0.0 if exactly else torch.finfo(first.dtype).eps ** 0.5
            for _ in range(again):
                if _gap(first.double(), model(at.clone()).double()) > least:
                    return True
    return False


def images_meet(model: nn.Module, x: Tensor) -> bool:
    """Whether the answers to x [B, ...] depend on the other images of their batch.

    Asked of a model that does not vary. Images x, and others, mirrored and dimmed, are asked about
    beside copies of themselves and beside each other.
    """
    other = x.flip(tuple(range(1, x.ndim))) / 2
    with torch.no_grad():
        alone = [model(torch.cat([each, each]))[: len(x)].clone() for each in (x, other)]
        beside = model(torch.cat([x, other])).clone().split(len(x))
    least = 8 * torch.finfo(alone[0].dtype).eps
    pairs = zip(alone, beside, strict=True)
    return any(_gap(one.double(), two.double()) > least for one, two in pairs)


def _joined(one: Randomness, other: Randomness) -> Randomness:
    """Of the answers to some inputs and to others."""
    if not (one.random and other.random):
        return one if one.random else other
    controlled = one.controlled and other.controlled
    names = tuple(dict.fromkeys((*one.sources, *other.sources))) if controlled else ()
    return Randomness(names, controlled, bool(one.shared and other.shared))


def _detected(model: nn.Module, x: Tensor, found: list[Source]) -> Randomness:
    dtypes: list[torch.dtype] = []

    def ask(at: Tensor, seed: int, apart: Source | None = None, other: int = 0) -> Tensor:
        """Every source under one seed, but for the one that is set apart."""
        for source in found:
            source.seed(other if source is apart else seed)
        made: Tensor = model(at.clone())  # which it may overwrite
        dtypes.append(made.dtype)
        return made.detach().to(torch.float64, copy=True)  # its memory may be used again

    first = ask(x, 0)
    again = [ask(x, 0) for _ in range(AGAIN)]
    rounding = max(_gap(first, each) for each in again)
    least = torch.finfo(dtypes[0]).eps ** 0.5  # what equal seeds may differ by
    most = least if rounding else 0.0
    if rounding > least:
        apart = max(again, key=lambda each: _gap(first, each))
        return Randomness((), False, _shared(ask, _most(first, apart, x)))
    seeds = range(1, ASKS + 1)
    asked = ((seed, ask(x, seed)) for seed in seeds)
    changed = next(((seed, made) for seed, made in asked if _gap(first, made) > most), (0, first))
    # A state that forwards change looks like a seed's work, until the seeds are asked again.
    if any(_gap(made, ask(x, seed)) > least for seed, made in (changed, (0, first))):
        return Randomness((), False, _shared(ask, _most(first, changed[1], x)))
    if changed[0] == 0:
        return Randomness()
    alone = [
        source.name
        for source in found
        if any(_gap(first, ask(x, 0, source, seed)) > most for seed in seeds)
    ]
    together = tuple(alone) or ("several generators together",)
    shared = _shared(ask, _most(first, changed[1], x))
    if _gap(first, ask(x, 0)) > least:
        return Randomness((), False, shared)
    return Randomness(together, True, shared)


def _most(one: Tensor, other: Tensor, x: Tensor) -> Tensor:
    """The image [1, ...] whose answers differ most: others may meet no draw at all."""
    if one.shape != other.shape or len(one) != len(x):
        return x[:1]
    place = int((one - other).nan_to_num(0.0).abs().flatten(1).amax(1).argmax())
    return x[place : place + 1]


def _shared(ask: Any, x: Tensor) -> bool:
    """Whether copies of one image [1, ...] in a batch always get the same answer, to rounding."""
    copies = x.expand(4, *x.shape[1:]).contiguous()
    return all(
        _gap(rows, rows[:1].expand_as(rows)) < 1e-3
        for rows in (ask(copies, seed) for seed in range(1, ASKS + 1))
    )


def _gap(one: Tensor, other: Tensor) -> float:
    """The largest difference by the largest value; infinite where shapes or NaN differ."""
    if one.shape != other.shape:
        return float("inf")
    if not torch.equal(one.isfinite(), other.isfinite()):
        return float("inf")
    one, other = (t.nan_to_num(0.0, 0.0, 0.0) for t in (one, other))
    size = float(torch.maximum(one.abs().amax(), other.abs().amax())) if one.numel() else 0.0
    return float((one - other).abs().amax()) / size if size else 0.0

"""The Bernoulli(theta) sketch of a latent core, and who controls it.

Algorithm 1, lines 3-4: for every mode of the core sample lambda ~ Bernoulli(theta) and keep the
components where it is one. A *draw* is one such set of masks, used in one forward.

Draws come from a private generator of each layer, so they neither read nor move torch's global
random state. By default they are live, in training and in evaluation alike; the context managers
below change that for one model, in the current thread, until the block ends:

    frozen(model, seed=0)      the same draw at every forward
    disabled(model)            no sketch: the weights at theta = 1
    per_sample(model)          every example of a batch has a draw of its own
    record(model)              write the draws down; replay(model, ledger) uses them again
"""

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from .errors import UsageError

Masks = tuple[Tensor | None, ...]
"""One 0/1 mask per mode, [n] or, per sample, [B, n]; None where a mode is not sketched."""


class Sketch:
    """What a layer draws: Bernoulli(theta) masks for the sketched modes of a core.

    theta     probability of keeping a component, in (0, 1].
    modes     the modes to sketch; None: all.
    min_dim   modes of this size or smaller are never sketched.
    min_keep  at least so many components of a mode are kept; where fewer survive, the missing
              ones are chosen uniformly.
    """

    def __init__(
        self,
        shape: Sequence[int],
        theta: float,
        *,
        modes: Sequence[int] | None = None,
        min_dim: int = 1,
        min_keep: int = 1,
    ) -> None:
        if not 0 < theta <= 1:
            raise UsageError(f"theta must lie in (0, 1], got {theta}: 1 keeps every component")
        if min_keep < 0 or min_dim < 0:
            raise UsageError(f"min_keep and min_dim must be >= 0, got {min_keep} and {min_dim}")
        wanted = range(len(shape)) if modes is None else modes
        unknown = [m for m in wanted if not 0 <= m < len(shape)]
        if unknown:
            raise UsageError(
                f"mode {unknown[0]} does not exist: the core has modes 0 to {len(shape) - 1}"
            )
        self.shape = tuple(shape)
        self.theta = float(theta)
        self.modes = tuple(m for m in sorted(set(wanted)) if shape[m] > min_dim)
        self.min_keep = min_keep
        self._missing = {mode: self._expected_missing(mode) for mode in self.modes}
        self._seed: int | None = None
        self._generators: dict[torch.device, torch.Generator] = {}

    @property
    def random(self) -> bool:
        """Whether two draws can differ."""
        return self.theta < 1 and bool(self.modes)

    def keep_probability(self, mode: int) -> float:
        """P(a given component of the mode is kept), min_keep included."""
        if mode not in self.modes or self.theta == 1:
            return 1.0
        return self.theta + self._missing[mode] / self.shape[mode]

    def _expected_missing(self, mode: int) -> float:
        """How many components min_keep puts back, on average over draws."""
        n, t = self.shape[mode], self.theta
        k = min(self.min_keep, n)
        return sum((k - j) * math.comb(n, j) * t**j * (1 - t) ** (n - j) for j in range(k))

    def seed(self, value: int) -> None:
        self._seed = value
        self._generators.clear()

    def draw(self, device: torch.device, batch: int | None = None) -> Masks | None:
        """The masks of one forward over `batch` examples; None means nothing is dropped."""
        control = _controls.get().get(self, _LIVE)
        masks = self._draw(control, device, batch if control.per_sample else None)
        for made in control.record:
            made.append(masks)
        return masks

    def _draw(self, control: "_Control", device: torch.device, batch: int | None) -> Masks | None:
        if control.replay is not None:
            try:
                masks = next(control.replay)
            except StopIteration:
                raise UsageError(
                    "the ledger holds fewer draws than this block makes: record the same forwards"
                ) from None
            return masks and tuple(None if m is None else m.to(device) for m in masks)
        if not (control.enabled and self.random):
            return None
        if control.frozen is None:
            return self._sample(self._generator(device), device, batch)
        held = (device, batch)
        if held not in control.frozen:
            generator = torch.Generator(device).manual_seed(control.seed)
            control.frozen[held] = self._sample(generator, device, batch)
        return control.frozen[held]

    def _sample(self, generator: torch.Generator, device: torch.device, batch: int | None) -> Masks:
        sizes = [self.shape[m] for m in self.modes]
        lead = () if batch is None else (batch,)
        uniform = torch.rand((*lead, sum(sizes)), generator=generator, device=device)
        kept = (uniform < self.theta).float()
        masks: list[Tensor | None] = [None] * len(self.shape)
        for mode, u, mask in zip(
            self.modes, uniform.split(sizes, -1), kept.split(sizes, -1), strict=True
        ):
            if self._missing[mode] > 1e-30:  # else no draw ever falls short
                k = min(self.min_keep, u.shape[-1])
                least = u.amin(-1, True) if k == 1 else u.kthvalue(k, -1, True).values
                mask = torch.maximum(mask, (u <= least).float())
            masks[mode] = mask
        return tuple(masks)

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            generator = torch.Generator(device)
            if self._seed is None:
                generator.seed()
            else:
                generator.manual_seed(self._seed)
            self._generators[device] = generator
        return self._generators[device]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        twin = copy.copy(self)
        twin._generators = {d: g.clone_state() for d, g in self._generators.items()}
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_generators": {}}


@dataclass
class Ledger:
    """The draws of a recorded block, by layer name, in the order in which they were made."""

    draws: dict[str, list[Masks | None]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, list[list[list[Any] | None] | None]]:
        """Plain lists of 0 and 1, ready for JSON."""

        def plain(m: Masks | None) -> list[list[Any] | None] | None:
            return None if m is None else [None if x is None else x.int().tolist() for x in m]

        return {name: [plain(m) for m in made] for name, made in self.draws.items()}

    @classmethod
    def from_dict(cls, plain: dict[str, list[list[list[Any] | None] | None]]) -> Self:
        def masks(m: list[list[Any] | None] | None) -> Masks | None:
            if m is None:
                return None
            return tuple(None if x is None else torch.tensor(x).float() for x in m)

        return cls({name: [masks(m) for m in made] for name, made in plain.items()})


@dataclass(frozen=True)
class _Control:
    enabled: bool = True
    per_sample: bool = False
    seed: int = 0
    frozen: dict[tuple[torch.device, int | None], Masks] | None = None
    record: tuple[list[Masks | None], ...] = ()
    replay: Iterator[Masks | None] | None = None


_LIVE = _Control()
_controls: ContextVar[dict[Sketch, _Control]] = ContextVar("sketch_controls", default={})  # noqa: B039


def sketches(model: nn.Module) -> dict[str, Sketch]:
    """The sketches of a model by layer name; a shared layer appears once."""
    found: dict[str, Sketch] = {}
    for name, module in model.named_modules():
        sketch = getattr(module, "sketch", None)
        if isinstance(sketch, Sketch) and sketch not in found.values():
            found[name] = sketch
    return found


def seed(model: nn.Module, value: int) -> None:
    """Start every layer's private generator anew, each on a stream of its own."""
    for index, sketch in enumerate(sketches(model).values()):
        sketch.seed(stream(value, index))


def stream(*keys: int | str) -> int:
    """An independent 63-bit seed for each tuple of keys."""
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


@contextmanager
def _controlled(
    model: nn.Module, change: Callable[[int, str, _Control], _Control]
) -> Iterator[None]:
    now = _controls.get()
    changed = {
        sketch: change(index, name, now.get(sketch, _LIVE))
        for index, (name, sketch) in enumerate(sketches(model).items())
    }
    token = _controls.set(now | changed)
    try:
        yield
    finally:
        _controls.reset(token)


def frozen(model: nn.Module, *, seed: int) -> AbstractContextManager[None]:
    """One draw per layer, made from `seed`, used at every forward of the block."""
    return _controlled(
        model,
        lambda i, _, c: replace(c, enabled=True, replay=None, frozen={}, seed=stream(seed, i)),
    )


def disabled(model: nn.Module) -> AbstractContextManager[None]:
    """No sketch: the full weights, theta = 1 (the omniscient attacker's)."""
    return _controlled(model, lambda i, _, c: replace(c, enabled=False, replay=None))


def per_sample(model: nn.Module) -> AbstractContextManager[None]:
    """Every example of a batch has a draw of its own."""
    return _controlled(model, lambda i, _, c: replace(c, per_sample=True))


def is_per_sample(model: nn.Module) -> bool:
    """Whether per_sample is in force for any layer, here and now."""
    controls = _controls.get()
    return bool(controls) and any(
        controls.get(sketch, _LIVE).per_sample for sketch in sketches(model).values()
    )


def is_live(model: nn.Module) -> bool:
    """Whether two forwards, here and now, can meet different draws."""
    controls = _controls.get()
    found = [(sketch, controls.get(sketch, _LIVE)) for sketch in sketches(model).values()]
    return any(s.random and c.enabled and c.frozen is None and c.replay is None for s, c in found)


@contextmanager
def record(model: nn.Module) -> Iterator[Ledger]:
    """Write down every draw of the block."""
    ledger = Ledger({name: [] for name in sketches(model)})
    with _controlled(model, lambda _, name, c: replace(c, record=(*c.record, ledger.draws[name]))):
        yield ledger


def replay(model: nn.Module, ledger: Ledger) -> AbstractContextManager[None]:
    """Use the ledger's draws again, layer by layer, in their order."""
    missing = sketches(model).keys() ^ ledger.draws.keys()
    if missing:
        raise UsageError(
            f"the ledger and the model differ in layer {min(missing)!r}: record this model"
        )
    return _controlled(model, lambda _, name, c: replace(c, replay=iter(ledger.draws[name])))

"""The Bernoulli(theta) sketch of a latent core: which components one forward keeps.

Algorithm 1, lines 3-4: for every mode of the core sample lambda ~ Bernoulli(theta) and keep the
components where it is one. A *draw* is one such set of masks, used in one forward.

Draws come from a private generator of each layer, so they neither read nor move torch's global
random state. `sketching` says who controls them.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from .errors import UsageError

Masks = tuple[Tensor | None, ...]
"""One 0/1 mask per mode, [n] or, per sample, [B, n]; None where a mode is not sketched."""


@dataclass(frozen=True)
class Control:
    """What the contexts in force make of a layer's draws."""

    enabled: bool = True
    per_sample: bool = False
    seed: int = 0
    frozen: dict[tuple[torch.device, int | None], Masks] | None = None
    record: tuple[list[Masks | None], ...] = ()
    replay: Iterator[Masks | None] | None = None


LIVE = Control()
controls: ContextVar[dict["Sketch", Control]] = ContextVar("sketch_controls", default={})  # noqa: B039


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
        self.ahead: tuple[Masks | None, ...] = ()  # a draw made before its forward, by `drawn`
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
        if self.ahead:
            return self.ahead[0]
        control = controls.get().get(self, LIVE)
        masks = self._draw(control, device, batch if control.per_sample else None)
        for made in control.record:
            made.append(masks)
        return masks

    def _draw(self, control: Control, device: torch.device, batch: int | None) -> Masks | None:
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

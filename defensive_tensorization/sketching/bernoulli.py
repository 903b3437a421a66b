"""The Bernoulli(theta) sketch of a latent core: which components one forward keeps.

Algorithm 1, lines 3-4: for every mode of the core sample lambda ~ Bernoulli(theta) and keep the
components where it is one. A *draw* is one such set of masks, used in one forward.
"""

import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor

from ..errors import UsageError
from .draws import Drawn, RandomState

Masks = Drawn
"""One 0/1 mask a mode, [n] or, of parts of a batch, [parts, n]; None where it is not sketched."""


class Sketch(RandomState):
    """What a layer draws: Bernoulli(theta) masks for the sketched modes of a core.

    theta     probability of keeping a component, in (0, 1]; it may be set anew between forwards.
    modes     the modes to sketch; None: all.
    min_dim   modes of this size or smaller are never sketched.
    min_keep  at least so many components of a mode are kept; where fewer survive, the missing
              ones are chosen uniformly.
    rescaled  whether the layer divides what is drawn by `kept_fraction`.
    """

    _theta: float
    _missing: dict[int, float]

    def __init__(
        self,
        shape: Sequence[int],
        theta: float,
        *,
        modes: Sequence[int] | None = None,
        min_dim: int = 1,
        min_keep: int = 1,
    ) -> None:
        super().__init__()
        if min_keep < 0 or min_dim < 0:
            raise UsageError(f"min_keep and min_dim must be >= 0, got {min_keep} and {min_dim}")
        wanted = range(len(shape)) if modes is None else modes
        unknown = [m for m in wanted if not 0 <= m < len(shape)]
        if unknown:
            raise UsageError(
                f"mode {unknown[0]} does not exist: the core has modes 0 to {len(shape) - 1}"
            )
        self.shape = tuple(shape)
        self.modes = tuple(m for m in sorted(set(wanted)) if shape[m] > min_dim)
        self.min_keep = min_keep
        self.rescaled = False
        self.theta = theta

    @property
    def theta(self) -> float:
        return self._theta

    @theta.setter
    def theta(self, value: float) -> None:
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < value <= 1:
            raise UsageError(f"theta must lie in (0, 1], got {value}: 1 keeps every component")
        self._theta = float(value)
        self._missing = {mode: self._expected_missing(mode) for mode in self.modes}

    @property
    def unmasked(self) -> float:
        return self.kept_fraction if self.rescaled else 1.0

    @property
    def kept_fraction(self) -> float:
        """P(a given component of the core is kept): `keep_probability` multiplied over modes."""
        fraction = 1.0  # in a loop: torch.compile does not trace math.prod of a generator
        for mode in self.modes:
            fraction *= self.keep_probability(mode)
        return fraction

    @property
    def random(self) -> bool:
        """Whether two draws can differ."""
        return self.theta < 1 and bool(self.modes)

    @property
    def mask_sizes(self) -> list[int]:
        return [n if mode in self.modes else 0 for mode, n in enumerate(self.shape)]

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

    def _sample(
        self, generator: torch.Generator, device: torch.device, batch: int | None, size: int
    ) -> Masks:
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

"""A kernel that lives in a Tucker latent space: Eq. 3, randomized by Eq. 4.

    W = G x_0 U_F x_1 U_C x_2 U_H x_3 U_W          (3)
    G~ = G x_0 M_F x_1 M_C x_2 M_H x_3 M_W         (4), M = diag(lambda), lambda ~ Bernoulli(theta)

Masking the core's components equals masking the columns of the factors, which is cheaper.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..sketching import Masks, Sketch
from .decompose import Rank, decompose


class TuckerWeight(nn.Module):
    """The randomized kernel of one layer; calling it draws a sketch and gives a dense kernel.

    core     [r_0, ..., r_d], factors  [n_m, r_m] for each mode m, kernel  [n_0, ..., n_d].
    rescale  divide by the probability that a component is kept, so that the kernel's expectation
             over draws is the full kernel (with Eq. 4 as printed, False, it shrinks).
    """

    def __init__(
        self,
        core: Tensor,
        factors: Sequence[Tensor],
        theta: float,
        *,
        modes: Sequence[int] | None = None,
        min_dim: int = 1,
        min_keep: int = 1,
        rescale: bool = False,
    ) -> None:
        super().__init__()
        ranks = [u.shape[1] for u in factors]
        if list(core.shape) != ranks:
            raise UsageError(
                f"the core's shape {list(core.shape)} must equal the factors' ranks {ranks}"
            )
        self.core = nn.Parameter(core)
        self.factors = nn.ParameterList([nn.Parameter(u) for u in factors])
        self.sketch = Sketch(core.shape, theta, modes=modes, min_dim=min_dim, min_keep=min_keep)
        self.rescale = rescale

    @classmethod
    def from_dense(
        cls,
        kernel: Tensor,
        theta: float,
        *,
        rank: Rank = "full",
        init: str = "hosvd",
        **options: Any,
    ) -> "TuckerWeight":
        """Start at `kernel` exactly (full rank) or at its best Tucker approximation."""
        core, factors = decompose(kernel.detach(), rank, init)
        return cls(core, factors, theta, **options)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(u.shape[0] for u in self.factors)

    def forward(self) -> Tensor:
        """One kernel [n_0, ..., n_d] under a fresh draw (or whatever `sketching` has in force)."""
        masks = self.sketch.draw(self.core.device)
        kernel = self.reconstruct(masks)
        if masks is not None and self.rescale:
            kernel = kernel / self.kept_fraction
        return kernel

    @property
    def kept_fraction(self) -> float:
        """E[kernel] = kept_fraction * full kernel, over draws: P(kept), multiplied over modes."""
        fraction = 1.0
        for mode in self.sketch.modes:
            fraction *= self.sketch.keep_probability(mode)
        return fraction

    def reconstruct(self, masks: Masks | None) -> Tensor:
        """Eq. 3 under the given masks; None: the full kernel."""
        factors = list(self.factors)
        if masks is not None:
            factors = [
                u if m is None else u * m.to(u.dtype) for u, m in zip(factors, masks, strict=True)
            ]
        return reconstruct(self.core, factors)


def reconstruct(core: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """core [r_0, ..., r_d] and factors [n_m, r_m] to the kernel [n_0, ..., n_d].

    The small spatial modes are contracted first, as one Kronecker factor.
    """
    first, second, *spatial = factors
    kernel = core.flatten(2) if spatial else core.unsqueeze(-1)  # [r_0, r_1, r_2 ... r_d]
    if spatial:
        window = spatial[0]
        for u in spatial[1:]:
            window = torch.kron(window, u)
        kernel = kernel @ window.T
    kernel = torch.matmul(second, kernel)  # [r_0, n_1, K]
    kernel = first @ kernel.flatten(1)  # [n_0, n_1 K]
    return kernel.reshape([u.shape[0] for u in factors])

"""A kernel that lives in a Tucker latent space: Eq. 3, randomized by Eq. 4.

    W = G x_0 U_F x_1 U_C x_2 U_H x_3 U_W          (3)
    G~ = G x_0 M_F x_1 M_C x_2 M_H x_3 M_W         (4), M = diag(lambda), lambda ~ Bernoulli(theta)

Masking the core's components equals masking the columns of the factors, which is cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..replacement.weights import unfit_values
from ..sketching import eager, products
from ..sketching.bernoulli import Masks, Sketch
from ..sketching.draws import PartDraw, draws_in, one_of
from .as_tensor import AsTensor
from .decompose import Rank, decompose
from .kept import Kept
from .paths import contract_channels, contract_channels_of_draws, contract_window

SMALL = 50_000  # elements of a kernel; of larger ones several at once take longer than in turn


class TuckerWeight(AsTensor):
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
        self.shape = torch.Size([u.shape[0] for u in factors])
        self.init = "hosvd"
        self.core = nn.Parameter(_channels_last(core))
        self.factors = nn.ParameterList([nn.Parameter(u) for u in factors])
        self.sketch = Sketch(core.shape, theta, modes=modes, min_dim=min_dim, min_keep=min_keep)
        self.rescale = self.sketch.rescaled = rescale
        self._kept = Kept()

    @classmethod
    def from_dense(
        cls,
        kernel: Tensor,
        theta: float,
        *,
        rank: Rank = "full",
        init: str = "hosvd",
        **options: Any,
    ) -> TuckerWeight:
        """Start at `kernel` exactly (full rank) or at its best Tucker approximation."""
        core, factors = decompose(kernel.detach(), rank, init)
        weight = cls(core, factors, theta, **options)
        weight.init = init
        if isinstance(kernel, nn.Parameter):
            for p in weight._all:
                p.requires_grad_(kernel.requires_grad)
                p.__dict__.update(kernel.__dict__)  # what other code marked it with
        return weight

    def decomposed(self, kernel: Tensor) -> dict[str, Tensor]:
        """The state of this module for a dense kernel [n_0, ..., n_d], at its own ranks."""
        if reason := unfit_values(kernel):
            raise UsageError(f"a kernel {reason}")
        core, factors = decompose(kernel.detach(), tuple(self.core.shape), self.init)
        return {"core": core} | {f"factors.{i}": u for i, u in enumerate(factors)}

    def forward(self, batch: int | None = None) -> Tensor:
        """One kernel [n_0, ..., n_d] under a fresh draw (or whatever `sketching` has in force).

        Under `sketching.per_sample` one for each of `batch` examples: [batch, n_0, ..., n_d].
        """
        masks = self.draw(batch)
        kernel = self.kernel(masks)
        kept = masks is None or self.made(masks) is not None
        return kernel.clone() if kept else kernel

    def draw(self, batch: int | None = None, *, whole: bool = False) -> Masks | None:
        """As `RandomState.draw`."""
        return self.sketch.draw(self.core.device, batch, whole=whole)

    def kernel(self, masks: Masks | None) -> Tensor:
        """The kernel under the given masks; None: the full one, kept while nothing changes."""
        if masks is None:
            return self._keep("kernel", lambda: contract_channels(*self.latent(None)))
        count = draws_in(masks)
        if count is None:
            return self._under(masks)
        return torch.stack([self.kernel(one_of(masks, i)) for i in range(count)])

    def _under(self, masks: Masks) -> Tensor:
        """The kernel of one draw; in a `products.kept` block, those of all parts with it."""
        kernel = self.made(masks)
        if kernel is not None:
            return kernel
        keeps = products.usable() and self.frozen
        of_channels = all(m is None for m in masks[2:])
        small = self.shape.numel() <= SMALL
        if keeps and small and of_channels and isinstance(masks, PartDraw):
            for i, each in enumerate(contract_channels_of_draws(*self.latent(masks.whole))):
                products.keep(self, one_of(masks.whole, i), each)
            found = self.made(masks)
            assert found is not None
            return found
        kernel = contract_channels(*self.latent(masks))
        if keeps:
            products.keep(self, masks, kernel)
        return kernel

    def made(self, masks: Masks) -> Tensor | None:
        """The kernel of one draw, if a forward of this `products.kept` block has computed it."""
        return products.find(self, masks) if products.usable() and self.frozen else None

    def latent(self, masks: Masks | None) -> tuple[Tensor, Tensor, Tensor]:
        """Core [r_0, r_1, k...] with its window contracted, U_F and U_C, masked and rescaled.

        Under masks [draws, r] of modes 0 and 1 the factors are [draws, n, r].
        """
        factors: list[Tensor] = list(self.factors)
        whole = masks is None or all(m is None for m in masks[2:])
        if masks is not None:
            factors = [
                u if m is None else u * m.to(u.dtype).unsqueeze(-2)
                for u, m in zip(factors, masks, strict=True)
            ]
            if self.rescale:
                factors[0] = factors[0] / self.kept_fraction
        first, second, *window = factors
        core = (
            self._keep("core", lambda: contract_window(self.core, window))
            if whole
            else contract_window(self.core, window)
        )
        return core, first, second

    @property
    def frozen(self) -> bool:
        """No gradient is wanted for any of its parameters; a trace leaves that open."""
        if not torch.is_grad_enabled():
            return torch._C._get_tracing_state() is None
        return not any(p.requires_grad for p in self._all)

    @property
    def keeps(self) -> bool:
        """Whether full products are computed once: in evaluation, while no gradient is wanted."""
        if self.training or not self.frozen or torch.compiler.is_compiling():
            return False
        if not eager.is_plain():
            return False
        return not any(p.is_inference() for p in self._all)  # those count no versions

    @property
    def _all(self) -> list[Tensor]:
        """Core and factors, without the detours of ParameterList: small batches feel them."""
        return [cast(Tensor, p) for m in (self, self.factors) for p in m._parameters.values()]

    @property
    def kept_fraction(self) -> float:
        """E[kernel] = kept_fraction * full kernel, over draws: P(kept), multiplied over modes."""
        return self.sketch.kept_fraction

    def _keep(self, what: str, compute: Callable[[], Tensor]) -> Tensor:
        """In evaluation mode, compute once while no gradient is wanted and no parameter changes."""
        if not self.keeps:
            return compute()
        device = self.core.device
        mixed = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if mixed else self.core.dtype
        return self._kept.get((what, device, dtype), self._all, lambda: compute().to(dtype))

    def train(self, mode: bool = True) -> TuckerWeight:
        if mode:
            self._kept.clear()
        return super().train(mode)


def _channels_last(core: Tensor) -> Tensor:
    """The same values, mode 1 innermost in memory: what the contractions read in order."""
    return core.movedim(1, -1).contiguous().movedim(-1, 1)

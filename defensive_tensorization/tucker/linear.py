"""A linear layer whose weight is a randomized Tucker matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch.nn.functional as F
from torch import Tensor, nn

from ..sketching import eager
from ..sketching.draws import draws_in
from .drop_in import DropIn
from .paths import factorized_is_cheaper
from .weight import TuckerWeight

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11


class TuckerLinear(DropIn):
    """[..., in_features] to [..., out_features], as nn.Linear with W = U_F G U_C^T, G sketched.

    Under `sketching.per_sample` the first dimension of the input counts the examples.
    """

    shared_draws = True  # several would make a matrix for each example
    dense_type: ClassVar[type[nn.Module]] = nn.Linear

    @classmethod
    def from_linear(cls, linear: nn.Linear, theta: float, **options: Any) -> Self:
        """Start at `linear`; `options` as in TuckerWeight.from_dense."""
        cls._checked(linear)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        return cls(TuckerWeight.from_dense(linear.weight, theta, **options), bias)._like(linear)

    @property
    def in_features(self) -> int:
        return self.weight.shape[1]

    @property
    def out_features(self) -> int:
        return self.weight.shape[0]

    def dense(self) -> nn.Linear:
        """A plain layer with the full weights (theta = 1)."""
        return cast(nn.Linear, self._filled())

    def _empty(self, kernel: Tensor) -> nn.Module:
        return nn.Linear(
            self.in_features,
            self.out_features,
            bias=self.bias is not None,
            device=kernel.device,
            dtype=kernel.dtype,
        )

    def forward(self, input: Tensor) -> Tensor:  # torch's name for it
        x = input
        masks = self.weight.draw(x.shape[0])
        if draws_in(masks) is not None:
            y = (x.flatten(1, -2) if x.ndim > 2 else x.unsqueeze(1)) @ self.weight.kernel(masks).mT
            y = y.reshape(*x.shape[:-1], y.shape[-1])
            return y if self.bias is None else y + self.bias
        if masks is not None and not eager.is_exporting() and self._cheaper_factorized(x):
            latent, first, second = self.weight.latent(masks)
            return F.linear(F.linear(F.linear(x, second.T), latent), first, self.bias)
        return F.linear(x, self.weight.kernel(masks), self.bias)

    def _cheaper_factorized(self, x: Tensor) -> bool:
        positions = x.shape[:-1].numel()
        attack = self.weight.frozen and x.requires_grad
        return factorized_is_cheaper(
            self.weight.core.shape, self.weight.shape, positions, positions, attack=attack
        )

    def extra_repr(self) -> str:
        return (
            f"{self.weight.shape[1]}, {self.weight.shape[0]}, "
            f"core={'x'.join(map(str, self.weight.core.shape))}, theta={self.weight.sketch.theta:g}"
        )

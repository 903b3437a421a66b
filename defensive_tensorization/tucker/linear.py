"""A linear layer whose weight is a randomized Tucker matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ..draws import draws_in
from ..errors import UsageError
from .paths import factorized_is_cheaper
from .weight import TuckerWeight

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11


class TuckerLinear(nn.Module):
    """[..., in_features] to [..., out_features], as nn.Linear with W = U_F G U_C^T, G sketched.

    Under `sketching.per_sample` the first dimension of the input counts the examples.
    """

    shared_draws = True  # several would make a matrix for each example
    dense_type: ClassVar[type[nn.Module]] = nn.Linear

    def __init__(self, weight: TuckerWeight, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = weight
        self.bias = None if bias is None else nn.Parameter(bias)

    @classmethod
    def from_linear(cls, linear: nn.Linear, theta: float, **options: Any) -> Self:
        """Start at `linear`; `options` as in TuckerWeight.from_dense."""
        if type(linear) is not nn.Linear:
            raise UsageError(f"TuckerLinear is made from Linear, got {type(linear).__name__}")
        bias = None if linear.bias is None else linear.bias.detach().clone()
        weight = TuckerWeight.from_dense(linear.weight, theta, **options)
        return cls(weight, bias).train(linear.training)

    def dense(self) -> nn.Linear:
        """A plain layer with the full weights (theta = 1)."""
        weight = self.weight.kernel(None).detach()
        linear = nn.Linear(
            weight.shape[1],
            weight.shape[0],
            bias=self.bias is not None,
            device=weight.device,
            dtype=weight.dtype,
        )
        linear.load_state_dict(
            {"weight": weight} | ({} if self.bias is None else {"bias": self.bias})
        )
        return linear.train(self.training)

    def forward(self, x: Tensor) -> Tensor:
        masks = self.weight.draw(len(x))
        positions = x.shape[:-1].numel()
        if draws_in(masks) is not None:
            y = (x.flatten(1, -2) if x.ndim > 2 else x.unsqueeze(1)) @ self.weight.kernel(masks).mT
            y = y.reshape(*x.shape[:-1], y.shape[-1])
            return y if self.bias is None else y + self.bias
        core = self.weight.core.shape
        attack = self.weight.frozen and x.requires_grad
        if masks is not None and factorized_is_cheaper(
            core, self.weight.shape, positions, positions, attack=attack
        ):
            latent, first, second = self.weight.latent(masks)
            return F.linear(F.linear(F.linear(x, second.T), latent), first, self.bias)
        return F.linear(x, self.weight.kernel(masks), self.bias)

    def extra_repr(self) -> str:
        return (
            f"{self.weight.shape[1]}, {self.weight.shape[0]}, "
            f"core={'x'.join(map(str, self.weight.core.shape))}, theta={self.weight.sketch.theta:g}"
        )

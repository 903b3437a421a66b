"""Defensive dropout (Wang et al. 2018): dropout in front of the last layer, at test time too."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..sketching.bernoulli import Sketch
from ..sketching.replicas import Replicated


class DropoutLinear(Replicated, nn.Linear):
    """[B, in_features] to [B, out_features]; what is kept is divided by 1 - rate.

    rate        of the deployed network: a draw like any sketch, one for the batch or per sample.
    train_rate  of training: ordinary dropout, from torch's global generator.
    """

    def __init__(
        self, in_features: int, out_features: int, *, rate: float, train_rate: float, **options: Any
    ) -> None:
        super().__init__(in_features, out_features, **options)
        for name, value in (("rate", rate), ("train_rate", train_rate)):
            if not 0 <= value < 1:
                raise UsageError(f"{name} of dropout must lie in [0, 1), got {value}")
        self.train_rate = train_rate
        self.sketch: Sketch = Sketch((in_features,), 1 - rate, min_dim=0, min_keep=0)
        self.sketch.rescaled = True

    @property
    def draws(self) -> bool:
        return not self.training and self.sketch.random

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return super().forward(F.dropout(x, self.train_rate))
        masks = self.sketch.draw(x.device, x.shape[0])
        if masks is not None and masks[0] is not None:
            x = x * (masks[0] / self.sketch.theta).to(x.dtype)
        return super().forward(x)


def last_layer(*, rate: float, train_rate: float) -> Callable[..., nn.Module]:
    """A drop-in for nn.Linear as the factory of a network's last layer."""

    def make(*args: Any, **options: Any) -> nn.Module:
        return DropoutLinear(*args, rate=rate, train_rate=train_rate, **options)

    return make

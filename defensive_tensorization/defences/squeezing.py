"""Feature squeezing (Xu et al. 2017): fewer colours and a median filter in front of the network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from .straight import rounded


class FeatureSqueezing(nn.Module):
    """Images [B, C, H, W] in [0, 1] to the same, differentiable.

    bits    of a colour: round((2^bits - 1) x) / (2^bits - 1), its derivative taken for 1.
    median  whether the upper median (third of the sorted four) of each 2x2 window follows: of a
            pixel, the one above, the one to the left and the one between; the image continues
            symmetrically at top and left. scipy's `median_filter` of size 2. Where values tie, they
            share the gradient.
    """

    def __init__(self, *, bits: int = 5, median: bool = True) -> None:
        super().__init__()
        if not 1 <= bits <= 8:
            raise UsageError(f"squeezing leaves 1 to 8 bits of a colour, got bits={bits}")
        self.bits = bits
        self.median = median

    def forward(self, x: Tensor) -> Tensor:
        x = rounded(x, 2**self.bits - 1)
        return upper_median(x) if self.median else x


def upper_median(x: Tensor) -> Tensor:
    """[..., C, H, W] to the same: of each 2x2 window that ends at a pixel the second largest."""
    padded = F.pad(x, (1, 0, 1, 0), mode="replicate")  # by one: the same as symmetric
    above = torch.maximum(padded[..., :-1, :-1], padded[..., :-1, 1:])
    below = torch.maximum(padded[..., 1:, :-1], padded[..., 1:, 1:])
    lesser = torch.maximum(
        torch.minimum(padded[..., :-1, :-1], padded[..., :-1, 1:]),
        torch.minimum(padded[..., 1:, :-1], padded[..., 1:, 1:]),
    )
    return torch.maximum(torch.minimum(above, below), lesser)

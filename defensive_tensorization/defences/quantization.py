"""Defensive quantization (Lin et al. 2019): few activation values, weights that amplify little."""

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .straight import rounded


class QuantizedReLU(nn.Module):
    """x to one of 2^bits values, evenly spaced in [0, clip]: ReLU6, then rounding straight through.

    The derivative is 1 inside (0, clip) and 0 outside, as of the clipping alone.
    """

    def __init__(self, *, bits: int = 4, clip: float = 6.0) -> None:
        super().__init__()
        if not 1 <= bits <= 16:
            raise UsageError(f"an activation has 1 to 16 bits, got bits={bits}")
        if not 0 < clip < float("inf"):
            raise UsageError(f"activations are clipped at a positive number, got clip={clip}")
        self.bits = bits
        self.clip = clip

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 cannot hold 2^bits values
            share = x.float().clamp(0, self.clip) / self.clip
            return (rounded(share, 2**self.bits - 1) * self.clip).to(x.dtype)


def orthogonality(network: nn.Module) -> Tensor:
    """The sum of ||W^T W - I||^2 / 2 over all weights, as a scalar.

    W [fan_in, out] holds one column a filter or unit. Where out > fan_in the Gram matrix of the
    rows stands in: its sum is smaller by the constant out - fan_in, so the gradients are the same,
    and it can be zero.
    """
    total = torch.zeros((), device=next(network.parameters()).device)
    for weight in _weights(network):
        rows = weight.flatten(1).float()
        with torch.autocast(rows.device.type, enabled=False):
            gram = rows @ rows.T if rows.shape[0] <= rows.shape[1] else rows.T @ rows
            total = total + (gram - torch.eye(len(gram), device=gram.device)).square().sum() / 2
    return total


def _weights(network: nn.Module) -> list[Tensor]:
    """Kernels and matrices, each once; biases and BatchNorm's scales are none."""
    return [weight for weight in network.parameters() if weight.ndim > 1]

"""Ways to compute with a Tucker kernel, and what each costs.

reconstruct  contract core and factors to a dense kernel, then convolve once. Its cost does not
             depend on the input, so it wins on large batches and images.
factorized   a 1x1 convolution into the core's space, the core's convolution, a 1x1 convolution
             out of it. Nothing of the kernel's size times its width is ever computed, so it wins
             where the input is small (batch 1; the last stages).

Both are the same function. Masks multiply the small factors or the activations: every product
keeps its shape from draw to draw, which the libraries' caches of compiled primitives reward.
"""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

Convolve = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def contract_window(core: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """core [r_0, r_1, r_2, ...] and spatial factors [k_m, r_m] to [r_0, r_1, k_2, ...]."""
    if not factors:
        return core
    window = factors[0]
    for u in factors[1:]:
        each = window[:, None, :, None] * u[None, :, None, :]  # torch.kron wants like strides
        window = each.reshape(len(window) * len(u), -1)  # one [K, R] factor for all spatial modes
    last = core.movedim(1, -1).flatten(1, -2)  # [r_0, R, r_1]
    spatial = [u.shape[0] for u in factors]
    every = window.expand(len(last), -1, -1)
    contracted: Tensor = torch.bmm(every, last).unflatten(1, spatial)  # matmul copies the core
    return contracted.movedim(-1, 1)


def contract_channels(core: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """core [r_0, r_1, k...], U_F [n_0, r_0], U_C [n_1, r_1] to [n_0, n_1, k...].

    Two plain matrix products; the kernel comes out with its channels last, as convolutions on
    channels-last images want it.
    """
    last = core.movedim(1, -1)  # [r_0, k..., r_1]
    kernel: Tensor = last @ second.T  # [r_0, k..., n_1]
    kernel = (first @ kernel.flatten(1)).unflatten(1, kernel.shape[1:])  # [n_0, k..., n_1]
    return kernel.movedim(-1, 1)


def contract_channels_of_draws(core: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The kernels of K draws, [K, n_0, n_1, k...], of one core: two products for all of them.

    Args:
        core: [r_0, r_1, k...]; first: U_F [K, n_0, r_0]; second: U_C [K, n_1, r_1]. A factor
            without a mask is [n, r].
    """
    draws = max(len(u) for u in (first, second) if u.ndim == 3)
    first, second = (u.expand(draws, -1, -1) for u in (first, second))
    last = core.movedim(1, -1)  # [r_0, k..., r_1]
    kernels = first.flatten(0, 1) @ last.flatten(1)  # [K n_0, k... r_1]
    kernels = torch.bmm(kernels.view(draws, -1, last.shape[-1]), second.mT)
    return kernels.view(*first.shape[:2], *last.shape[1:-1], -1).movedim(-1, 2)


def reconstruct(core: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """Eq. 3: core [r_0, ..., r_d] and factors [n_m, r_m] to the kernel [n_0, ..., n_d]."""
    first, second, *spatial = factors
    return contract_channels(contract_window(core, spatial), first, second)


def factorized(
    x: Tensor,
    core: Tensor,
    first: Tensor,
    second: Tensor,
    masks: Sequence[Tensor | None],
    bias: Tensor | None,
    convolve: Convolve,
) -> Tensor:
    """x [B, n_1, ...] through U_C, the core [r_0, r_1, k...] and U_F to [B, n_0, ...].

    masks of modes 0 and 1 of the core, which multiply the activations: [r], or [B, r], of each
    example its own.
    """
    x = _masked(pointwise(x, second.T), masks[1])
    x = _masked(convolve(x, core, None), masks[0])
    return pointwise(x, first, bias)


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask.to(x.dtype).reshape(*mask.shape, *[1] * (x.ndim - 2))


def pointwise(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 1x1 convolution: x [B, c, ...] and matrix [c', c] to [B, c', ...]."""
    kernel = matrix.reshape(*matrix.shape, *[1] * (x.ndim - 2))
    convolution = (torch.conv1d, torch.conv2d, torch.conv3d)[x.ndim - 3]
    return convolution(x, kernel, bias)


def factorized_is_cheaper(
    core: Sequence[int],
    kernel: Sequence[int],
    inputs: int,
    outputs: int,
    *,
    attack: bool = False,
) -> bool:
    """By multiply-adds, given the number of input and output positions (batch included).

    What both do alike, the contraction of the window, is left out. A gradient for the input alone
    (`attack`) repeats the convolutions, but not the reconstruction of a frozen kernel.
    """
    (r0, r1, *_), (n0, n1, *k) = core, kernel
    window = prod(k)
    passes = 2 if attack else 1
    dense = passes * n0 * n1 * window * outputs + r0 * window * n1 * (r1 + n0)
    split = inputs * n1 * r1 + outputs * r0 * r1 * window + outputs * r0 * n0
    return passes * split < dense

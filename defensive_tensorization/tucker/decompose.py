"""From a dense kernel to a core and factors."""

from numbers import Real
from typing import Literal

import torch
from torch import Tensor

from ..errors import UsageError

Rank = Literal["full", "same"] | float
"""full: the kernel's shape. A fraction in (0, 1]: of every mode. same: about as many parameters."""


def decompose(
    kernel: Tensor, rank: Rank | tuple[int, ...] = "full", init: str = "hosvd"
) -> tuple[Tensor, list[Tensor]]:
    """core [r_0, ..., r_d] and orthonormal factors [n_m, r_m] with kernel ~ core x_m factors.

    rank  As in `tensorize`, or the size of each mode of the core.
    Full rank is exact; lower ranks are the higher-order orthogonal iteration's fit (TensorLy).
    init  "hosvd": components ordered by energy, the first of a mode carry most of the kernel.
          "random": the same kernel in a random orthonormal basis of each latent space, its energy
          spread over the components, so that a sketch removes about the same share at every draw.
          Drawn from torch's global generator.
    """
    if init not in ("hosvd", "random"):
        raise UsageError(f"init must be 'hosvd' or 'random', got {init!r}")
    ranks = rank if isinstance(rank, tuple) else resolve_rank(tuple(kernel.shape), rank)
    exact = kernel.double()
    if ranks == tuple(kernel.shape):
        factors = [_eigenbasis(exact, mode) for mode in range(exact.ndim)]
        core = _project(exact, factors)
    else:
        import tensorly as tl  # slow to load, and at full rank nothing needs it
        from tensorly.decomposition import tucker

        with tl.backend_context("pytorch"):
            core, factors = tucker(exact, rank=list(ranks), svd="truncated_svd", random_state=0)
    if init == "random":
        turns = [torch.linalg.qr(torch.randn(r, r, dtype=exact.dtype))[0].to(exact) for r in ranks]
        factors = [u @ turn for u, turn in zip(factors, turns, strict=True)]
        core = _project(core, turns)
    return core.to(kernel.dtype), [u.to(kernel.dtype) for u in factors]


def resolve_rank(shape: tuple[int, ...], rank: Rank) -> tuple[int, ...]:
    if rank == "full":
        return shape
    if rank == "same":
        import tensorly as tl

        return tuple(tl.tucker_tensor.validate_tucker_rank(shape, rank="same"))
    if not isinstance(rank, Real) or isinstance(rank, bool) or not 0 < rank <= 1:
        raise UsageError(f"rank must be 'full', 'same' or a fraction in (0, 1], got {rank!r}")
    return tuple(max(1, round(rank * n)) for n in shape)


def _eigenbasis(kernel: Tensor, mode: int) -> Tensor:
    """Left singular vectors [n, n] of the mode's unfolding, from its n x n Gram matrix."""
    unfolded = kernel.movedim(mode, 0).flatten(1)
    vectors: Tensor = torch.linalg.eigh(unfolded @ unfolded.T).eigenvectors
    return vectors.flip(1)


def _project(tensor: Tensor, factors: list[Tensor]) -> Tensor:
    """tensor x_0 U_0^T ... x_d U_d^T."""
    for u in factors:
        tensor = torch.tensordot(tensor, u, dims=([0], [0]))  # the modes rotate into place
    return tensor

"""Tucker convolutions as a layer factory."""

from collections.abc import Callable
from typing import Any

from torch import nn

from .conv import TuckerConv1d, TuckerConv2d, TuckerConv3d, _TuckerConvNd
from .decompose import Rank

TYPES: dict[int, type[_TuckerConvNd]] = {1: TuckerConv1d, 2: TuckerConv2d, 3: TuckerConv3d}


def conv_factory(
    *,
    theta: float,
    dimensions: int = 2,
    rank: Rank = "full",
    modes: list[int] | None = None,
    min_dim: int = 1,
    min_keep: int = 1,
    rescale: bool = False,
    init: str = "hosvd",
) -> Callable[..., nn.Module]:
    """A drop-in for nn.Conv2d as a layer factory: same arguments, same initial distribution.

    `dimensions` 1 and 3: for nn.Conv1d and nn.Conv3d.
    """
    tucker = TYPES[dimensions]

    def make(*args: Any, **kwargs: Any) -> nn.Module:
        return tucker.from_conv(
            tucker.dense_type(*args, **kwargs),
            theta,
            rank=rank,
            init=init,
            modes=modes,
            min_dim=min_dim,
            min_keep=min_keep,
            rescale=rescale,
        )

    return make

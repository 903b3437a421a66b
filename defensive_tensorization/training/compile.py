"""A network's training step as one compiled graph: `train.compile`."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from .. import sketching


def compiled(network: nn.Module, mode: str) -> Callable[[Tensor], Tensor]:
    """x [B, ...] to the network's outputs; the first call compiles, which takes minutes.

    Draws are made before the graph is entered, by the generators that make them without it: the
    same draws, to the bit, and no break in the graph at every layer. Each layer is passed once.

    Args:
        mode: torch.compile's; reduce-overhead replays CUDA graphs, and is `default` on a CPU.
    """
    graph = torch.compile(network, mode=mode)

    def forward(x: Tensor) -> Tensor:
        with sketching.drawn(network, x.device, len(x)):
            return cast(Tensor, graph(x))

    return forward

"""Stochastic activation pruning (SAP, Dhillon et al. 2018): few activations, large ones likely.

It joins a trained network: behind every ReLU stands a sampler, and no weight changes.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..sketching.draws import Uniform
from ..sketching.replicas import Replicated


class StochasticPruning(Replicated):
    """A layer's activations h [B, ...] to the same, most of them zero; on average h itself.

    Of n activations r = fraction n are drawn with replacement, h_i with probability
    p_i = |h_i| / sum |h| (Section 3). Those never drawn become zero, the others are divided by the
    probability 1 - (1 - p_i)^r of that not happening.

    The draw is the r numbers in [0, 1) whose quantiles under p are taken: frozen, they prune one
    input always alike; shared by a batch, each example prunes by its own p. Derivatives take the
    factor of h_i for a constant: their mean over draws is then that of the network without pruning.
    """

    shared_draws = True  # sorting r numbers for each example costs more than a pass

    def __init__(self, *, fraction: float = 1.0) -> None:
        super().__init__()
        if not 0 < fraction < float("inf"):
            raise UsageError(f"the fraction of samples must be a positive number, got {fraction}")
        self.fraction = fraction
        self.sketch = Uniform()

    def forward(self, x: Tensor) -> Tensor:
        h = x.detach().flatten(1)
        size = max(1, round(self.fraction * h.shape[1]))
        points = self.sketch.draw(x.device, x.shape[0], size=size)
        if points is None:
            return x
        assert points[0] is not None
        return x * factors(h, points[0]).to(x.dtype).view_as(x)


def factors(h: Tensor, points: Tensor) -> Tensor:
    """What h [B, n] is multiplied by: 0, or one over the probability of being kept.

    points  numbers in [0, 1), [r] for all examples or [B, r].
    """
    p, r = h.float().abs(), points.shape[-1]
    with torch.autocast(h.device.type, enabled=False):
        ends = p.double().cumsum(1)
        total = ends[:, -1:]
        ordered = points.double().sort(-1).values
        below = torch.searchsorted(ordered, ends / total.clamp_min(1e-300))  # points left of each
        kept = below.diff(dim=1, prepend=below.new_zeros(len(h), 1)) > 0
        keep = -torch.expm1(r * torch.log1p(-p / total.float().clamp_min(1e-30)))
    return torch.where(kept, 1 / keep, torch.zeros_like(keep))


def pruned(network: nn.Module, *, fraction: float) -> nn.Module:
    """A second network on the same parameters and buffers, with pruning behind every ReLU."""
    shared = {id(each): each for each in [*network.parameters(), *network.buffers()]}
    second = deepcopy(network, memo=shared)
    places = [
        (parent, name)
        for parent in second.modules()
        for name, child in parent.named_children()
        if type(child) is nn.ReLU
    ]
    if not places:
        raise UsageError("activation pruning stands behind ReLUs, and this network has none")
    for parent, name in places:
        relu = parent.get_submodule(name)
        setattr(parent, name, nn.Sequential(relu, StochasticPruning(fraction=fraction)))
    return second

"""A batch of small images or clips and a curved network, for tests of attacks."""

import torch
from torch import Tensor, nn

UNIT = 1 / 255
IMAGES, AUDIO = (0.0, 1.0), (-1.0, 1.0)
N, CLASSES = 6, 5


def batch(bounds: tuple[float, float] = IMAGES) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(0)
    x = torch.rand(N, 2, 4, 4, generator=made)
    x.view(-1)[::7] = 0.0  # so that clipping has work to do at both ends
    x.view(-1)[::5] = 1.0
    low, high = bounds
    return low + (high - low) * x, torch.randint(CLASSES, (N,), generator=made)


def curved() -> nn.Module:
    torch.manual_seed(1)
    conv = nn.Conv2d(2, 6, 3, padding=1)
    with torch.no_grad():
        conv.weight *= 20  # gradients change sign along the way
    layers = (conv, nn.Tanh(), nn.Flatten(), nn.Linear(96, CLASSES))
    return nn.Sequential(*layers).eval().requires_grad_(False)

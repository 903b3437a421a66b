"""SoundNet5 (Section 4.2; after Aytar et al. 2016): from the raw waveform, end to end."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .resnet import Normalize

Factory = Callable[..., nn.Module]

KERNELS = (64, 32, 16, 8, 4)  # each at stride 2, padded by half


class Block(nn.Module):
    """[B, c_in, L] to [B, c_out, (L / 2 + 1) / 3]: convolution, max-pool, BatchNorm, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int, conv: Factory, norm: Factory) -> None:
        super().__init__()
        self.conv = conv(c_in, c_out, kernel, stride=2, padding=kernel // 2, bias=False)
        self.norm = norm(c_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool1d(self.conv(x), 3)
        return F.relu(self.norm(x))


class SoundNet5(nn.Module):
    """[B, 1, 16000] in [-1, 1] to logits [B, classes]. Printed with width 16.

    Each pooling divides the length by three, so one second at 16 kHz leaves 16 `width` x 2.
    conv and norm are the layer factories, called as nn.Conv1d and nn.BatchNorm1d are.
    """

    reads = "clips"
    dimensions = 1  # of its convolutions

    def __init__(
        self,
        *,
        width: int,
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        conv: Factory = nn.Conv1d,
        norm: Factory = nn.BatchNorm1d,
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        channels = [len(mean), *(width << i for i in range(len(KERNELS)))]
        self.blocks = nn.Sequential(
            *(
                Block(c_in, c_out, kernel, conv, norm)
                for c_in, c_out, kernel in zip(channels, channels[1:], KERNELS, strict=False)
            )
        )
        self.hidden = nn.Linear(2 * channels[-1], 16 * width)
        self.head = nn.Linear(16 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.normalize(x))
        x = F.relu(self.hidden(x.flatten(1)))
        logits: Tensor = self.head(x)
        return logits

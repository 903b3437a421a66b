"""SoundNet5 (Section 4.2; after Aytar et al. 2016): from the raw waveform, end to end."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .network import Network, Parts
from .precision import Factory
from .resnet import Normalize

KERNELS = (64, 32, 16, 8, 4)  # each at stride 2, padded by half


class Block(nn.Module):
    """[B, c_in, L] to [B, c_out, (L / 2 + 1) / 3]: convolution, max-pool, BatchNorm, activation."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, conv: Factory, norm: Factory, activation: Factory
    ) -> None:
        super().__init__()
        self.conv = conv(c_in, c_out, kernel, stride=2, padding=kernel // 2, bias=False)
        self.norm = norm(c_out)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool1d(self.conv(x), 3)
        x = self.activation(self.norm(x))
        return x


class SoundNet5(Network):
    """[B, 1, 16000] in [-1, 1] to logits [B, classes]. Printed with width 16.

    Each pooling divides the length by three, so one second at 16 kHz leaves 16 `width` x 2.
    A binary `precision` keeps the first convolution and the last linear layer real and has no ReLU
    in front of a sign, which stands behind BatchNorm in either of its orders.
    """

    reads = "clips"
    dimensions = 1  # of its convolutions

    def build(self, of: Parts) -> None:
        self.normalize = Normalize(of.mean, of.std)
        channels = [len(of.mean), *(of.width << i for i in range(len(KERNELS)))]
        first, inner = of.at("first"), of.at("inner")
        self.blocks = nn.Sequential(
            *(
                Block(c_in, c_out, kernel, inner if i else first, of.norm, of.activation)
                for i, ((c_in, c_out), kernel) in enumerate(
                    zip(pairwise(channels), KERNELS, strict=True)
                )
            )
        )
        self.hidden = of.precision.at("inner", nn.Linear)(2 * channels[-1], 16 * of.width)
        self.relu = of.relu()
        self.head = of.at("last")(16 * of.width, of.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.normalize(x))
        x = self.relu(self.hidden(x.flatten(1)))
        logits: Tensor = self.head(x)
        return logits

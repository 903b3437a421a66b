"""A network on log-mel spectrograms, of SoundNet5's size: what the end-to-end model is held to."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import from_extra
from .network import Network, Parts

RATE = 16_000  # Hz
WINDOW, HOP, BANDS = 400, 160, 64  # 25 ms every 10 ms
FLOOR = 1e-6  # power below which the logarithm is cut


class LogMelSpectrogram(nn.Module):
    """[B, 1, L] in [-1, 1] to log power [B, 1, BANDS, L / HOP + 1], in float32; differentiable."""

    def __init__(self) -> None:
        super().__init__()
        with from_extra():
            from torchaudio.transforms import MelSpectrogram

        self.mel = MelSpectrogram(
            RATE, n_fft=512, win_length=WINDOW, hop_length=HOP, n_mels=BANDS, f_min=20.0
        )

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            power: Tensor = self.mel(x.float())
            return (power + FLOOR).log()


class LogMel(Network):
    """[B, 1, 16000] in [-1, 1] to logits [B, classes], by five 3x3 convolutions on a spectrogram.

    Pooled by 2 after each of the first four, averaged after the last; widths 1, 2, 4, 8 and 12
    times `width`. BatchNorm in front of the first takes the place of a fixed normalisation, which
    log powers would need besides that of the samples.
    """

    reads = "clips"
    dimensions = 2  # of its convolutions

    def build(self, of: Parts) -> None:
        self.spectrogram = LogMelSpectrogram()
        width, norm = of.width, of.norm
        self.norm = norm(len(of.mean))
        widths = [len(of.mean), *(width * i for i in (1, 2, 4, 8, 12))]
        pairs = list(pairwise(widths))
        first, inner = of.at("first"), of.at("inner")
        self.convs = nn.ModuleList(
            (first if o == width else inner)(i, o, 3, stride=1, padding=1, bias=False)
            for i, o in pairs
        )
        self.norms = nn.ModuleList(norm(o) for o in widths[1:])
        self.activations = nn.ModuleList(of.activation() for _ in self.norms)
        self.hidden = of.precision.at("inner", nn.Linear)(12 * width, 16 * width)
        self.relu = of.relu()
        self.head = of.at("last")(16 * width, of.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.spectrogram(x))
        layers = zip(self.convs, self.norms, self.activations, strict=True)
        for i, (conv, norm, activation) in enumerate(layers):
            x = activation(norm(conv(x)))
            if i < len(self.convs) - 1:
                x = F.max_pool2d(x, 2)
        x = self.relu(self.hidden(x.mean((2, 3))))
        logits: Tensor = self.head(x)
        return logits

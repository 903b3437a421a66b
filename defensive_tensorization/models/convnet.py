"""A network of three convolutions, trained in seconds: for panels of small models and for tests."""

from collections.abc import Sequence

from torch import Tensor, nn

from .precision import REAL, Factory, Precision
from .resnet import Normalize


class ConvNet(nn.Module):
    """[B, C, H, W] to logits [B, classes]: 4x4 at stride 4, 3x3, 3x3 at stride 2, mean, linear.

    Widths 1, 2 and 4 times `width`. conv, norm, relu and last are the layer factories.
    """

    reads = "images"
    dimensions = 2  # of its convolutions

    def __init__(
        self,
        *,
        width: int,
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        conv: Factory = nn.Conv2d,
        norm: Factory = nn.BatchNorm2d,
        relu: Factory = nn.ReLU,
        last: Factory = nn.Linear,
        precision: Precision = REAL,
    ) -> None:
        super().__init__()
        first, inner = (precision.at(place, conv) for place in ("first", "inner"))
        activation = relu if precision.order == "conv_norm_relu" else nn.Identity
        self.layers = nn.Sequential(
            Normalize(mean, std),
            first(len(mean), width, 4, stride=4, padding=0, bias=False),
            norm(width),
            activation(),
            inner(width, 2 * width, 3, stride=1, padding=1, bias=False),
            norm(2 * width),
            activation(),
            inner(2 * width, 4 * width, 3, stride=2, padding=1, bias=False),
            norm(4 * width),
            relu(),
        )
        self.head = precision.at("last", last)(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(x).mean((2, 3)))
        return logits

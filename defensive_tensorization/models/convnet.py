"""A network of three convolutions, trained in seconds: for panels of small models and for tests."""

from torch import Tensor, nn

from .network import Network, Parts
from .resnet import Normalize


class ConvNet(Network):
    """[B, C, H, W] to logits [B, classes]: 4x4 at stride 4, 3x3, 3x3 at stride 2, mean, linear.

    Widths 1, 2 and 4 times `width`.
    """

    reads = "images"
    dimensions = 2  # of its convolutions

    def build(self, of: Parts) -> None:
        width, first, inner, norm = of.width, of.at("first"), of.at("inner"), of.norm
        self.layers = nn.Sequential(
            Normalize(of.mean, of.std),
            first(len(of.mean), width, 4, stride=4, padding=0, bias=False),
            norm(width),
            of.activation(),
            inner(width, 2 * width, 3, stride=1, padding=1, bias=False),
            norm(2 * width),
            of.activation(),
            inner(2 * width, 4 * width, 3, stride=2, padding=1, bias=False),
            norm(4 * width),
            of.relu(),
        )
        self.head = of.at("last")(4 * width, of.classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(x).mean((2, 3)))
        return logits

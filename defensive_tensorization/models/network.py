"""What every network of the package is made of: its sizes, and the factories of its layers."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from .precision import REAL, Factory, Place, Precision

_CONVOLUTIONS: dict[int, Factory] = {1: nn.Conv1d, 2: nn.Conv2d}
_NORMS: dict[int, Factory] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}


@dataclass(frozen=True)
class Parts:
    """Factories are called as nn.Conv2d (or 1d), nn.BatchNorm2d, nn.ReLU and nn.Linear are.

    width      channels of the narrowest layer.
    mean, std  per channel, of decoded inputs; the network normalises by them.
    last       of the last layer.
    """

    width: int
    classes: int
    mean: Sequence[float]
    std: Sequence[float]
    conv: Factory
    norm: Factory
    relu: Factory
    last: Factory
    precision: Precision

    def at(self, place: Place) -> Factory:
        """The factory of the convolutions at a place, and of the linear layer at the last."""
        return self.precision.at(place, self.last if place == "last" else self.conv)

    @property
    def activation(self) -> Factory:
        """Of what follows a BatchNorm in front of a convolution: binary ones take a sign."""
        return self.relu if self.precision.order == "conv_norm_relu" else nn.Identity


class Network(nn.Module):
    """A network whose layers come from factories, which `build` puts together."""

    reads: str  # "images" or "clips"
    dimensions: int  # of its convolutions

    def __init__(
        self,
        *,
        width: int,
        classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        conv: Factory | None = None,
        norm: Factory | None = None,
        relu: Factory = nn.ReLU,
        last: Factory = nn.Linear,
        precision: Precision = REAL,
    ) -> None:
        super().__init__()
        conv = conv or _CONVOLUTIONS[self.dimensions]
        norm = norm or _NORMS[self.dimensions]
        self.build(Parts(width, classes, mean, std, conv, norm, relu, last, precision))

    def build(self, of: Parts) -> None:
        """Make the layers, in the order in which their weights are drawn."""
        raise NotImplementedError

"""What a precision asks of a network: which places are binary, and what stands before what."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

Factory = Callable[..., nn.Module]
Place = Literal["first", "inner", "shortcut", "last"]
Order = Literal["conv_norm_relu", "norm_sign_conv", "sign_conv_norm"]


def _real(layer: nn.Module) -> nn.Module:
    return layer


@dataclass(frozen=True)
class Precision:
    """binary  makes a binary layer, which takes the sign of its input, of a real one.
    places  the places in a network where it does.
    order   of a block's layers; the real one has a ReLU where binary layers have their sign.
    """

    binary: Callable[[nn.Module], nn.Module] = _real
    places: frozenset[Place] = frozenset()
    order: Order = "conv_norm_relu"

    def at(self, place: Place, factory: Factory) -> Factory:
        """The factory of the layers at a place, given that of real ones."""
        if place not in self.places:
            return factory

        def make(*args: Any, **kwargs: Any) -> nn.Module:
            return self.binary(factory(*args, **kwargs))

        return make


REAL = Precision()

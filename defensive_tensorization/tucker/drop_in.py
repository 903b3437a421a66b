"""What the layers here have of the dense layers whose place they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..replacement import decompose_on_loading
from ..replacement.kinds import own_computation
from .weight import TuckerWeight

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11


class DropIn(nn.Module):
    """A layer with a randomized weight, for code that expects the dense one.

    A state dict of the dense layer loads too: its weight is decomposed on the way.
    """

    dense_type: ClassVar[type[nn.Module]]
    weight: TuckerWeight
    bias: nn.Parameter | None

    def __init__(self, weight: TuckerWeight, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = weight
        self.bias = None if bias is None else nn.Parameter(bias)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight" and isinstance(value, Tensor):
            raise UsageError(
                f"the weight of a {type(self).__name__} is a core and factors, not a tensor: load "
                "the tensor with load_state_dict, or take detensorize(model) first"
            )
        super().__setattr__(name, value)

    @classmethod
    def _checked(cls, layer: nn.Module) -> None:
        """UsageError: `layer` is not the dense layer, or computes something else."""
        if not isinstance(layer, cls.dense_type):
            raise UsageError(
                f"{cls.__name__} is made from {cls.dense_type.__name__}, got {type(layer).__name__}"
            )
        if reason := own_computation(layer, cls.dense_type):
            raise UsageError(
                f"{cls.__name__} is made from {cls.dense_type.__name__}; this {reason}"
            )

    def _like(self, layer: nn.Module) -> Self:
        """Mode and frozen bias as `layer` has them."""
        frozen = layer._parameters.get("bias")
        if self.bias is not None and frozen is not None:
            self.bias.requires_grad_(frozen.requires_grad)
        return self.train(layer.training)

    def _empty(self, kernel: Tensor) -> nn.Module:
        """A dense layer of the same form, whose values do not matter."""
        raise NotImplementedError

    def _filled(self) -> nn.Module:
        """A plain layer with the full weights (theta = 1), frozen where these are."""
        kernel = self.weight.kernel(None).detach()
        layer = self._empty(kernel)
        state = {"weight": kernel} | ({} if self.bias is None else {"bias": self.bias})
        layer.load_state_dict(state)
        layer._parameters["weight"].requires_grad_(self.weight.requires_grad)  # type: ignore[union-attr]
        if self.bias is not None:
            layer._parameters["bias"].requires_grad_(self.bias.requires_grad)  # type: ignore[union-attr]
        return layer.train(self.training)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start anew where the dense layer's own reset_parameters would."""
        layer: Any = self._empty(self.weight.kernel(None))  # which resets itself, once
        self.weight.load_state_dict(self.weight.decomposed(layer.weight))
        if self.bias is not None:
            self.bias.copy_(layer.bias)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, metadata: Any, strict: bool, *lists: Any
    ) -> None:
        decompose_on_loading(self, state_dict, prefix, lists[-1])
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, *lists)

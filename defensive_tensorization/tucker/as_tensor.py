"""What other code reads from a layer's weight as if it were a tensor."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..sketching.bernoulli import Sketch
from ..sketching.draws import LIVE, controls


class AsTensor(nn.Module):
    """A weight module that torch's functions take as a tensor: they get a kernel, drawn anew.

    `F.linear(x, layer.weight)` draws like `layer(x)`. Subclasses have `core`, `shape` and `sketch`.
    """

    shape: torch.Size
    core: nn.Parameter
    sketch: Sketch

    @property
    def dtype(self) -> torch.dtype:
        return self.core.dtype

    @property
    def device(self) -> torch.device:
        return self.core.device

    @property
    def layout(self) -> torch.layout:
        return self.core.layout

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def is_cuda(self) -> bool:
        return self.core.is_cuda

    @property
    def is_nested(self) -> bool:
        return False

    @property
    def requires_grad(self) -> bool:
        """Whether any of the parameters does."""
        return any(p.requires_grad for p in self.parameters())

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def dim(self) -> int:
        return self.ndim

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        """Elements of the kernel; the parameters that make it up may be more or fewer."""
        return self.shape.numel()

    def is_floating_point(self) -> bool:
        return True

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch's on a kernel in the place of each weight among its arguments.

        Raises:
            UsageError: The function would write into the kernel, which is gone afterwards; or
                examples draw kernels of their own, which one tensor cannot be.
        """
        name = getattr(function, "__name__", "")
        writes = name.endswith("_") and not name.endswith("__")
        if writes or (kwargs and _among((kwargs.get("out"),))):
            raise UsageError(
                f"torch's {name} cannot write into the weight of a tensorized layer: use "
                "layer.reset_parameters() or load_state_dict with a dense weight"
            )
        return function(*_drawn(args), **{k: _drawn(v) for k, v in (kwargs or {}).items()})


def _among(values: Iterable[Any]) -> bool:
    return any(isinstance(v, AsTensor) for v in values)


def _drawn(value: Any) -> Any:
    if isinstance(value, AsTensor):
        if controls.get(value.sketch, LIVE).draws_per_batch != 1:
            raise UsageError(
                "code outside the layer reads its weight as one tensor, but each example has a "
                "draw of its own here: leave per_sample or parts, or exclude that layer"
            )
        return cast(Tensor, value())
    if type(value) in (tuple, list):
        return type(value)(_drawn(v) for v in value)
    return value

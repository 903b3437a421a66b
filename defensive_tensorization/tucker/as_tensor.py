"""What other code reads from a layer's weight as if it were a tensor."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..sketching.bernoulli import Sketch
from ..sketching.draws import LIVE, controls
from ..sketching.replicas import Replicated


class AsTensor(Replicated):
    """A weight module that torch's functions take as a tensor: they get a kernel, drawn anew.

    `F.linear(x, layer.weight)` draws like `layer(x)`, and so do the operators and methods of a
    tensor, as in `2 * layer.weight.flatten(1)`. Every such use is another draw, so
    `layer.weight - layer.weight` is not zero: `w = layer.weight.clone()` is the kernel of one draw,
    and `sketching.frozen` gives all uses the same. Subclasses have `core`, `shape` and `sketch`.
    """

    __jit_ignored_attributes__: ClassVar = ["data", "T"]  # torch.jit.trace reads the others

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

    @property
    def T(self) -> Tensor:
        """Of a matrix."""
        if self.ndim != 2:
            raise AttributeError("T")
        return _drawn(self).T  # type: ignore[no-any-return]

    @property
    def data(self) -> Tensor:
        raise AttributeError("data")  # what is written into a kernel would be lost

    @data.setter
    def data(self, value: Tensor) -> None:
        raise UsageError(_unwritten("data"))

    def dim(self) -> int:
        return self.ndim

    def __len__(self) -> int:
        return self.shape[0]

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
            raise UsageError(_unwritten(name))
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
        return cast(Tensor, value()).contiguous()  # as code that writes `.view` wants it
    if type(value) in (tuple, list):
        return type(value)(_drawn(v) for v in value)
    return value


def _unwritten(name: str) -> str:
    return (
        f"torch's {name} cannot write into the weight of a tensorized layer: use "
        "layer.reset_parameters() or load_state_dict with a dense weight"
    )


def _of_kernel(name: str) -> Any:
    """A method or an operator of tensors, on a kernel."""
    if name.endswith("_") and not name.endswith("__"):

        def refuse(self: AsTensor, *args: Any, **kwargs: Any) -> Any:
            raise UsageError(_unwritten(name))

        return refuse

    def call(self: AsTensor, *args: Any, **kwargs: Any) -> Any:
        return getattr(_drawn(self), name)(*_drawn(args), **kwargs)

    return call


_BOTH_SIDES = "add sub mul truediv floordiv mod pow matmul".split()
_OPERATORS = [f"__{side}{name}__" for name in _BOTH_SIDES for side in ("", "r")]
_OPERATORS += [f"__{name}__" for name in "neg abs getitem iter lt le gt ge".split()]
_METHODS = [name for name, found in vars(torch._C.TensorBase).items() if callable(found)]
_METHODS += [name for name, found in vars(Tensor).items() if callable(found)]
_CASTS = "to type float double half bfloat16 cpu cuda".split()  # of a kernel, not of the module
for _name in (*_OPERATORS, *(n for n in _METHODS if not n.startswith("_"))):
    _own = getattr(AsTensor, _name, None)
    if _own is None or _own is getattr(object, _name, None) or _name in _CASTS:
        setattr(AsTensor, _name, _of_kernel(_name))

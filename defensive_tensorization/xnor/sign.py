"""sgn with sgn(0) = 1, and the derivatives that are taken for its own, which is zero.

Training uses the identity clipped to |x| < 1 (Rastegari et al. 2016). Inside

    with surrogate("tanh"): ...

gradients of inputs are those of tanh(x) instead; every forward is the same.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UsageError
from ..sketching import recompute
from ..sketching.thread_context import ThreadContext

Derivative = Callable[[Tensor, Tensor], Tensor]
"""(gradient, x) to the gradient times the derivative at x; the first may be overwritten."""


def sgn(x: Tensor, out: Tensor | None = None) -> Tensor:
    """1 where x >= 0 (-0.0 too), else -1."""
    made = torch.add(x, 0.0, out=out)  # -0.0 becomes 0.0
    return torch.copysign(torch.ones((), dtype=x.dtype, device=x.device), made, out=made)


def clipped(gradient: Tensor, x: Tensor) -> Tensor:
    backward = torch.ops.aten.hardtanh_backward.grad_input
    return cast(Tensor, backward(gradient, x, -1, 1, grad_input=gradient))


def _tanh(slope: float) -> Derivative:
    def derivative(gradient: Tensor, x: Tensor) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)  # in bfloat16 1 - y^2 is 0 from 3.5 on
        y = torch.tanh(slope * x.to(wide))
        made = torch.ops.aten.tanh_backward(slope * gradient.to(wide), y)
        return cast(Tensor, made.to(gradient.dtype))

    return derivative


SIGN_GRADIENTS: dict[str, Derivative] = {
    "identity": clipped,
    "tanh": _tanh(1.0),
    "tanh075": _tanh(0.75),
}

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": F.hardtanh,
    "tanh": torch.tanh,
    "tanh075": lambda x: torch.tanh(0.75 * x),
}
"""The functions whose derivatives those are."""

_KEY = "sign_gradient"
_blocks: ThreadContext[str, str] = ThreadContext(_KEY)
_latest = "identity"  # of whatever thread: what graphs of torch.compile are made for, and guard


@contextmanager
def sign_gradient(name: str) -> Iterator[None]:
    """Until the block ends: the derivative taken for sgn's at a layer's input.

    It holds in this thread and in those started inside the block, such as nn.DataParallel's. A
    forward that is run again for its gradient takes that of the first one.
    """
    global _latest
    if name not in SIGN_GRADIENTS:
        raise UsageError(f"surrogate must be one of {', '.join(SIGN_GRADIENTS)}, got {name!r}")
    before, _latest = _latest, name
    try:
        with _blocks.opened({_KEY: name}):
            yield
    finally:
        _latest = before


def chosen() -> str:
    """The name of the derivative in force for inputs."""
    if torch.compiler.is_dynamo_compiling():
        return _latest
    if recompute.ordinary():
        return _blocks.get(_KEY, "identity")
    return recompute.met(_KEY, lambda _: _blocks.get(_KEY, "identity"))


def derivative() -> Derivative:
    """The one in force for inputs."""
    return SIGN_GRADIENTS[chosen()]

"""What every attack asks of its model, inputs and labels, checked once at its entrance.

What has one meaning is handled: any grad mode of the caller, integer labels of any kind, inputs
that require gradients, an empty batch. The rest is refused in one line. `unchanged` says what
happens to the model.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..system import epsilon as epsilons
from ..system.alone import ALONE
from .logits import Guarded
from .native import Bounds
from .numbers import real
from .unchanged import unchanged

_told: "WeakSet[nn.Module]" = WeakSet()


@dataclass(frozen=True)
class Entry:
    """A model, inputs x [B, ...] within the bounds and int64 labels y [B], fit for an attack."""

    model: Guarded
    x: Tensor
    y: Tensor


def entered(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    bounds: Bounds,
    *,
    epsilon: float = 0.0,
    unit: float = 1.0,
) -> Entry:
    """Check what an attack is called with.

    Args:
        model: x [B, ...] to logits [B, C].
        x: floating point, in bounds.
        y: class numbers, of any integer type, on any device.
        bounds: the lowest and the highest value of the data.
        epsilon: the attack's size in the data's unit; unit: the amplitude of one.

    Raises:
        UsageError: for what no attack can work on, with the value, the rule and the remedy.
    """
    check_model(model)
    for name, value in (("inputs", x), ("labels", y)):
        if not isinstance(value, Tensor):
            raise UsageError(
                f"the {name} must be a tensor, got {type(value).__name__}: take torch.as_tensor"
            )
    _check_size(epsilon, unit, bounds)
    with torch.inference_mode(False), torch.no_grad():
        _check_tensors(model, x)
        _check_shapes(x, y)
        x = _plain(x)
        y = _plain(y.to(x.device)).long()
        highest = -1
        if x.numel():
            x, highest = _check_values(x, y, bounds)
    return Entry(Guarded(model, highest), x, y)


def check_model(model: nn.Module, name: str = "model") -> None:
    """Raise UsageError for a model, which the line calls `name`, that is no module."""
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"the {name} must be a torch.nn.Module, got {type(model).__name__}: put the function "
            "into the forward of one"
        )


@contextmanager
def guarded(entry: Entry) -> Iterator[None]:
    """Gradients are enabled in the block, and after it the model is bit for bit as before.

    Attacks in other threads wait: all draw from the same generators, perhaps on the same model.
    """
    with ALONE, torch.inference_mode(False), torch.enable_grad(), unchanged(entry.model.model):
        yield


def limits(bounds: Any) -> tuple[float, float]:
    """The bounds as two floats. Raises UsageError for what is no pair of numbers in order."""
    try:
        low, high = map(real, bounds)
    except (TypeError, ValueError):
        low = high = None
    if low is None or high is None:
        raise UsageError(f"the bounds must be two numbers, got {bounds!r}: such as (0, 1)")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"the bounds must be (lowest, highest), got {bounds}: such as (0, 1)")
    return float(low), float(high)


def _check_size(epsilon: float, unit: float, bounds: Any) -> None:
    low, high = limits(bounds)
    radius = epsilon * unit
    if not (math.isfinite(radius) and radius >= 0):
        raise UsageError(
            f"epsilon must be a number >= 0, got {epsilon}: such as 8/255"
            if unit == 1
            else f"epsilon must be a number >= 0, got {epsilon}: such as 8 for 8/255"
        )
    if radius > high - low:
        said = f"is {radius:.3g}" if unit == 1 else f"in units of {unit:.3g} is {radius:.3g}"
        written = "epsilon=8/255" if unit == 1 else "epsilon=8 and unit=1/255"
        _warn(
            f"epsilon {epsilon:g} {said} as an amplitude, more than the whole range {low:g} to "
            f"{high:g}: 8/255 is {written}"
        )
    if line := epsilons.warning(epsilon, unit):
        _warn(line)


def _check_tensors(model: nn.Module, x: Tensor) -> None:
    tensors = [*model.parameters(), *model.buffers()]
    for tensor in tensors:
        if torch.nn.parameter.is_lazy(tensor):
            raise UsageError(
                "the model has lazy layers that have met no input yet: call model(x) once before "
                "the attack"
            )
        if tensor.is_inference():
            raise UsageError(
                "the model was made under torch.inference_mode and has no gradients: make it, or "
                "load its weights, outside"
            )
    if x.device.type == "meta" or any(t.device.type == "meta" for t in model.parameters()):
        raise UsageError(
            "the inputs or parameters of the model are on the meta device and have no values: load "
            "them on a real device"
        )
    devices = {p.device for p in tensors if p.device.type != "meta"}
    if len(devices) == 1 and x.device not in devices:
        device = devices.pop()
        raise UsageError(
            f"the inputs are on {x.device}, the model on {device}: take x.to({str(device)!r})"
        )
    if model.training and model not in _told:
        _told.add(model)
        _warn(
            "the model is in training mode: it is attacked as it is, with batch statistics and "
            "dropout, and its buffers are put back; call model.eval() to attack it as deployed"
        )


def _check_shapes(x: Tensor, y: Tensor) -> None:
    if x.layout != torch.strided or y.layout != torch.strided:
        raise UsageError(
            f"the inputs and labels must be dense, got {x.layout} and {y.layout}: take x.to_dense()"
        )
    if not x.is_floating_point():
        raise UsageError(
            f"the inputs must be floating point, got {x.dtype}: take x.float() / 255 for images in "
            "bytes"
        )
    if y.is_floating_point() or y.is_complex():
        raise UsageError(
            f"the labels must be whole numbers, got {y.dtype}: take y.long(), or y.argmax(1) for "
            "one column for each class"
        )
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y):
        raise UsageError(
            f"the inputs must be [B, ...] and the labels [B], got {[*x.shape]} and {[*y.shape]}: "
            "give one label for each input"
        )


def _check_values(x: Tensor, y: Tensor, bounds: Bounds) -> tuple[Tensor, int]:
    """x within the bounds, rounding errors cut off, and the highest label; one read."""
    (low, high), ends = bounds, [t.double() for t in (*x.aminmax(), *y.aminmax())]
    least, most, first, last = torch.stack(ends).tolist()
    room = 4 * torch.finfo(x.dtype).eps * max(abs(low), abs(high))
    if not (math.isfinite(least) and math.isfinite(most)):
        raise UsageError("the inputs hold NaN or infinity: remove the examples that do")
    if least < low - room or most > high + room:
        raise UsageError(
            f"the inputs lie in [{least:.4g}, {most:.4g}], outside the bounds ({low:g}, {high:g}): "
            "put the normalisation into the model and give inputs within the bounds, or give the "
            "bounds of the data"
        )
    if first < 0:
        raise UsageError(
            f"the labels must be at least 0, got {int(first)}: leave such examples out"
        )
    inside = low <= least and most <= high
    return x if inside else x.clamp(low, high), int(last)


def _plain(tensor: Tensor) -> Tensor:
    """Detached, and of a kind that gradients can pass."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=7)

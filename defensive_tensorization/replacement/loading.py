"""A dense weight in a state dict, for a layer whose weight is decomposed."""

from typing import Any

from torch import Tensor, nn

from ..errors import UsageError


def decompose_on_loading(
    layer: nn.Module, state: dict[str, Any], prefix: str, errors: list[str]
) -> None:
    """Before a layer loads: turn `<prefix>weight`, if it is a kernel, into core and factors.

    Args:
        state: What is loaded; changed in place (torch hands every layer a copy).
        errors: A line is added if the kernel does not fit.
    """
    key = f"{prefix}weight"
    weight: Any = layer._modules.get("weight")
    kernel = state.get(key)
    if weight is None or not hasattr(weight, "decomposed") or not isinstance(kernel, Tensor):
        return
    del state[key]
    own = {f"{key}.{name}": value for name, value in weight.state_dict().items()}
    if tuple(kernel.shape) != tuple(weight.shape):
        errors.append(
            f"size mismatch for {key}: a dense kernel of shape {list(kernel.shape)} for a "
            f"tensorized one of shape {list(weight.shape)}."
        )
    else:
        try:
            own = {f"{key}.{n}": value for n, value in weight.decomposed(kernel).items()}
        except UsageError as error:
            errors.append(f"{key}: {error}")
    state.update(own)

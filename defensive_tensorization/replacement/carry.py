"""What hangs on a layer, from the old one to the new one."""

from typing import Any

from torch import nn

from .hooks import MOVED, OF_STATE
from .kinds import additions

_MODULE = frozenset(vars(nn.Module()))
_STANDARD = _MODULE | set(
    "in_channels out_channels kernel_size stride padding dilation transposed output_padding groups "
    "padding_mode _reversed_padding_repeated_twice in_features out_features weight bias K alpha "
    "tensorization binarization".split()
)


def extras(layer: nn.Module) -> dict[str, Any]:
    """What a user put on a layer: attributes, buffers, parameters and submodules, by name."""
    own = {k: v for k, v in vars(layer).items() if k not in _STANDARD}
    for register in (layer._parameters, layer._buffers, layer._modules):
        own |= {k: v for k, v in register.items() if k not in ("weight", "bias")}
    return own


def clash(layer: nn.Module, new: type[nn.Module]) -> str | None:
    """Why an extra cannot be put on a layer of the new type; None: all can."""
    taken = [name for name in extras(layer) if hasattr(new, name) or name == "sketch"]
    if taken:
        return f"has an attribute '{taken[0]}', which {new.__name__} needs for itself: rename it"
    return None


def bequeath(old: nn.Module, new: nn.Module, dense: type, *, same_weights: bool) -> None:
    """Give the new layer what the old one had beside its weight: bias, mode, hooks, extras.

    Hooks are the same dictionaries, so the handles that users hold go on removing them.
    """
    for name in (*MOVED, *(OF_STATE if same_weights else ())):
        vars(new)[name] = vars(old)[name]
    for name, value in vars(old).items():
        if name not in _STANDARD:
            vars(new)[name] = value
    for name, value in additions(type(old), dense):
        if not hasattr(type(new), name):
            vars(new)[name] = getattr(old, name, value)
    if old._parameters.get("bias") is not None:
        new._parameters["bias"] = old._parameters["bias"]
    for register in ("_parameters", "_buffers", "_modules"):
        for name, value in vars(old)[register].items():
            if name not in ("weight", "bias"):
                vars(new)[register][name] = value
    new._non_persistent_buffers_set |= old._non_persistent_buffers_set
    new.training = old.training

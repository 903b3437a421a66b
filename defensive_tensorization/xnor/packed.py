"""A binary network as it would be stored: one bit a weight, one scale a filter."""

from math import prod

import torch
from torch import Tensor, nn

from .. import sketching
from ..errors import UsageError
from .layers import XnorConvNd

_PLACES = (128, 64, 32, 16, 8, 4, 2, 1)


def pack(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """alpha sgn(W) [F, ...] to bits [F, bytes] (uint8, first weight in the highest bit; 1 for +1)
    and alpha [F]."""
    rows = kernel.flatten(1)
    bits = nn.functional.pad((rows >= 0).to(torch.uint8), (0, -rows.shape[1] % 8))
    places = torch.tensor(_PLACES, dtype=torch.uint8, device=kernel.device)
    return (bits.unflatten(1, (-1, 8)) * places).sum(2, dtype=torch.uint8), rows[:, 0].abs()


def unpack(bits: Tensor, alpha: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The kernel [F, ...] that was packed."""
    places = torch.tensor(_PLACES, dtype=torch.uint8, device=bits.device)
    set_ = (bits.unsqueeze(2) & places).ne(0).flatten(1)[:, : prod(shape[1:])]
    return torch.where(set_, alpha[:, None], -alpha[:, None]).reshape(shape)


def packed(network: nn.Module) -> dict[str, Tensor]:
    """The network's state with `<layer>.bits` and `<layer>.alpha` for every binary layer's weights,
    the rest in float32.

    UsageError: nothing is binary, or its weights are drawn anew at every forward.
    """
    modules = network.named_modules(remove_duplicate=False)
    layers = {name: each for name, each in modules if isinstance(each, XnorConvNd)}
    if not layers:
        raise UsageError("no layer of this network is binary: take precision=xnor")
    state = {
        name: value.float()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    for name, layer in layers.items():
        if sketching.is_random(layer):
            raise UsageError(
                f"layer '{name}' draws its weights anew at every forward, from a real latent "
                "tensor: no bits stand for them; take defence=none or theta=1"
            )
        inside = f"{name}." if name else ""
        state = {k: v for k, v in state.items() if not k.startswith(f"{inside}weight")}
        with torch.no_grad():
            state[f"{inside}bits"], state[f"{inside}alpha"] = pack(layer.kernel())
    return state


def size(state: dict[str, Tensor]) -> int:
    """Bytes of all tensors."""
    return sum(value.nbytes for value in state.values())


def dense_size(network: nn.Module) -> int:
    """Bytes of the same state with its binary kernels in float32."""
    layers = [each for each in network.modules() if isinstance(each, XnorConvNd)]
    kernels = sum(4 * each.kernel().numel() for each in layers)
    state = packed(network)
    packed_kernels = sum(v.nbytes for k, v in state.items() if k.endswith(("bits", "alpha")))
    return size(state) - packed_kernels + kernels

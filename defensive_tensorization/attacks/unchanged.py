"""A model that is bit for bit the same afterwards, whatever a block of code does to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Snapshot:
    """Parameters, gradients, buffers, modes, submodules and hooks of every module of a model.

    Costs a copy of the parameters and buffers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.modules = [(m, m.training) for m in model.modules()]
        self.tables = [(t, dict(t)) for m, _ in self.modules for t in _tables(m)]
        found = {id(t): t for m, _ in self.modules for t in _tensors(m)}
        self.tensors = list(found.values())
        self.flags = [(t, t.requires_grad, t.grad) for t in self.tensors if t.is_leaf]
        self.copies = [(t, t.detach().clone()) for t in self.tensors if _has_bits(t)]

    def set_gradients_aside(self) -> None:
        """Nothing can add to a gradient that is not there."""
        for tensor, _, gradient in self.flags:
            if gradient is not None:
                tensor.grad = None

    def restore(self) -> None:
        """Put back what changed. Tensors keep their identity and, if unchanged, their version."""
        for module, mode in self.modules:
            module.training = mode
        for table, content in self.tables:
            if [*table] != [*content] or any(table[k] is not v for k, v in content.items()):
                table.clear()
                table.update(content)
        with torch.inference_mode(False), torch.no_grad():
            for tensor, copy in _differing(self.copies):
                if tensor.shape == copy.shape and tensor.dtype == copy.dtype:
                    tensor.copy_(copy)
                else:
                    tensor.data = copy
        for tensor, wanted, gradient in self.flags:
            if tensor.requires_grad != wanted:
                tensor.requires_grad_(wanted)
            if tensor.grad is not gradient:
                tensor.grad = gradient


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """In the block the parameters have no `.grad`; afterwards the model is as before.

    Exceptions and KeyboardInterrupt included.
    """
    with torch.inference_mode(False), torch.no_grad():
        before = Snapshot(model)
    try:
        before.set_gradients_aside()
        yield
    finally:
        before.restore()


def _tables(module: nn.Module) -> Iterator[Any]:
    """The dictionaries that hold a module's parameters, buffers, submodules and hooks."""
    registers: tuple[Any, ...] = (module._parameters, module._buffers, module._modules)
    yield from (
        table for table in registers if isinstance(table, dict)
    )  # a ScriptModule has others
    for name, value in vars(module).items():
        if "_hooks" in name and isinstance(value, dict):
            yield value


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    if isinstance(module, torch.jit.ScriptModule):
        yield from (*module.parameters(recurse=False), *module.buffers(recurse=False))
        return
    for table in (module._parameters, module._buffers):
        yield from (t for t in table.values() if t is not None)


def _has_bits(tensor: Tensor) -> bool:
    """Whether its values can be copied and compared: not on `meta`, not sparse, not quantized."""
    plain = tensor.layout == torch.strided and not tensor.is_quantized
    return plain and tensor.device.type != "meta"


def _differing(copies: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """The pairs of other bits; a NaN equals itself. Reads each device once."""
    if not copies:
        return []
    flags = [_differs(tensor.detach(), copy) for tensor, copy in copies]
    found: dict[torch.device, list[int]] = {}
    for i, flag in enumerate(flags):
        found.setdefault(flag.device, []).append(i)
    differing = {
        i
        for places in found.values()
        for i, differs in zip(places, torch.stack([flags[i] for i in places]).tolist(), strict=True)
        if differs
    }
    return [pair for i, pair in enumerate(copies) if i in differing]


def _differs(tensor: Tensor, copy: Tensor) -> Tensor:
    if tensor.shape != copy.shape or tensor.dtype != copy.dtype:
        return torch.ones((), dtype=torch.bool, device=copy.device)
    if tensor.is_complex():
        tensor, copy = torch.view_as_real(tensor.resolve_conj()), torch.view_as_real(copy)
    bits = _BITS[tensor.element_size()]
    return (tensor.view(bits) != copy.view(bits)).any()

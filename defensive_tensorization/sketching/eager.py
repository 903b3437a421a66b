"""Draws outside torch's eager mode: what traces, exports and vectorizes a network."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.utils._python_dispatch import _disable_current_modes

from ..errors import UsageError

_PROXY = torch._C._TorchDispatchModeKey.PROXY
_interpreter = torch._C._functorch.peek_interpreter_stack
REMEDY = "do it under sketching.frozen(model, seed=0) or sketching.disabled(model)"


def refuse_live(lost: bool) -> None:
    """Refuse a live draw where a later forward would meet the same one, or an earlier one another.

    Args:
        lost: this forward runs inside a backward pass, and its first forward is not known.

    Raises:
        UsageError: with the remedy.
    """
    if lost:
        raise UsageError(
            "a forward inside a backward pass would meet another draw than the first forward: "
            "recompute by torch.utils.checkpoint, or run forward and backward under "
            "sketching.frozen(model, seed=0)"
        )
    if torch._C._get_tracing_state() is not None:
        raise UsageError(f"torch.jit.trace would keep one draw of a live network: {REMEDY}")
    if torch.compiler.is_exporting() or torch._C._get_dispatch_mode(_PROXY) is not None:
        raise UsageError(f"an exported graph would keep one draw of a live network: {REMEDY}")
    if _interpreter() is not None and _vmap_forbids():
        raise UsageError(
            "vmap of a live network must say what it draws: pass randomness='same' (one draw) or "
            f"'different' (one for each), or {REMEDY}"
        )


def is_plain() -> bool:
    """Whether no transform of torch.func and no dispatch mode wraps the tensors made here."""
    return _interpreter() is None and torch._C._len_torch_dispatch_stack() == 0


def leaves() -> bool:
    """Whether what is computed here goes into a graph, or through a transform of torch.func."""
    if torch.compiler.is_compiling():
        return True
    return torch._C._get_tracing_state() is not None or not is_plain()


def is_exporting() -> bool:
    """Whether a graph is made that will run without Python: it may meet inputs of other sizes."""
    if torch.compiler.is_dynamo_compiling():
        return torch.compiler._is_exporting_flag  # dynamo takes is_exporting() for always true
    return torch._C._get_tracing_state() is not None or torch.compiler.is_exporting()


def _vmap_forbids() -> bool:
    stack = torch._C._functorch.get_interpreter_stack() or []
    vmap, error = torch._C._functorch.TransformType.Vmap, torch._C._functorch.RandomnessType.Error
    return any(
        level.key() == vmap and torch._C._functorch.CVmapInterpreterPtr(level).randomness() == error
        for level in stack
    )


@contextmanager
def plain() -> Iterator[None]:
    """Tensors made inside are plain ones, whatever transforms, fakes or records outside."""
    tracing = torch._C._get_tracing_state()
    with _disable_current_modes(), temporarily_clear_interpreter_stack():
        torch._C._set_tracing_state(None)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            torch._C._set_tracing_state(tracing)  # type: ignore[attr-defined]

"""Forwards that are run again for their gradient meet what the first one met.

Activation checkpointing runs a part of a network a second time inside the backward pass. torch sets
its global generators back for that, and knows nothing of private ones. Each part, a *region*, is an
object that both runs have on their call stack: the frame object of torch's checkpoint without
reentrance, or the `ctx` of an autograd.Function (torch's reentrant checkpoint, and checkpoints of
other libraries). What was drawn in the first run is kept there, so it lives as long as the graph.

Ordinary forwards pay for one question, `ordinary`; the call stack is read in the others alone.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import torch
import torch.utils.checkpoint

T = TypeVar("T")
_CHECKPOINT = vars(torch.utils.checkpoint)
_task: Callable[[], int] = torch._C._current_graph_task_id
_forward_ad: Callable[[], bool] = torch._C._is_fwd_grad_enabled
_saving: Callable[[bool], object] = torch._C._autograd._top_saved_tensors_default_hooks


def ordinary() -> bool:
    """Whether this forward is neither run again nor will be.

    A backward pass is a graph task; torch's checkpoint hooks saved tensors; and the forward of an
    autograd.Function runs without forward-mode gradients, which no_grad alone leaves on.
    """
    if _task() == -1 and _saving(True) is None and _forward_ad():
        return True
    return torch.is_inference_mode_enabled()


def in_backward() -> bool:
    """Whether this thread is inside a backward pass."""
    return _task() != -1


def in_region() -> bool:
    """Whether this forward is a region's, the first or the recomputed one."""
    first, again, _ = _regions()
    return bool(first) or again is not None


@dataclass
class _Region:
    """What each owner met in a region's first forward, call by call."""

    met: dict[object, list[Any]] = field(default_factory=dict)
    run: object = None  # the recomputation that reads
    read: dict[object, int] = field(default_factory=dict)

    def again(self, owner: object, run: object) -> list[Any]:
        """[what the owner's next call of this run meets], or []."""
        if run != self.run:
            self.run, self.read = run, {}
        index = self.read.get(owner, 0)
        self.read[owner] = index + 1
        return self.met.get(owner, [])[index : index + 1]


def met(owner: object, make: Callable[[bool], T]) -> T:
    """What `owner` met at this call in the first forward; there, what `make` gives.

    Args:
        owner: who asks, a layer or its draws; each has a sequence of calls of its own.
        make: called with whether this is a recomputed forward whose first is not known.
    """
    first, again, run = _regions()
    found = [] if again is None else again.again(owner, run)
    value = cast(T, found[0]) if found else make(again is not None or in_backward())
    for region in first:
        region.met.setdefault(owner, []).append(value)
    return value


def _regions() -> tuple[list[_Region], _Region | None, object]:
    """The regions that run for the first time, inside the one that runs again, and which run."""
    first: list[_Region] = []
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if frame.f_globals is _CHECKPOINT and code.co_name == "checkpoint":
            generator = frame.f_locals.get("gen")  # of the form without reentrance
            inner = generator and generator.gi_frame
            region = inner and inner.f_locals.get("new_frame")
            if region is not None:
                first.append(_region(region))
        elif frame.f_globals is _CHECKPOINT and code.co_name == "unpack_hook":
            local = frame.f_locals
            return first, _region(local["frame"]), local["gid"]
        elif code.co_name in ("forward", "backward") and code.co_varnames[:1] != ("self",):
            ctx = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
            if isinstance(ctx, torch.autograd.function.FunctionCtx):
                if code.co_name == "backward":
                    return first, _region(ctx), _task()
                first.append(_region(ctx))
        frame = frame.f_back  # type: ignore[assignment]
    return first, None, None


def _region(holder: Any) -> _Region:
    found = getattr(holder, "_first_forward", None)
    if found is None:
        found = holder._first_forward = _Region()
    return cast(_Region, found)

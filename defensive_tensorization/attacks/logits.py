"""The model in an attack's hands: its logits are checked before a loss sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError

_OF_TYPES = re.compile(r"dtype|scalar type|should be the same|same dtype", re.IGNORECASE)


class Guarded(nn.Module):
    """The model as attacks call it; a label above `highest` there is none.

    Nothing converts or moves it, and whatever its mode, nobody but the guard warns about that. It
    gets copies of the inputs, which it may overwrite, and a stream of torch's global generator of
    its own, which it may seed: the attack's choices go on from where they were.
    """

    def __init__(self, model: nn.Module, highest: int) -> None:
        super().__init__()
        self.model = model
        self.highest = highest  # label
        self.met = False
        self.passed = False  # by a gradient
        self.stream: Tensor | None = None  # state of the model's own random choices
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        with self._own_stream(x.device):
            made = self._first(x.clone()) if not self.met else self.model(x.clone())
        logits: Tensor = made.clone()  # the model may write its next answer into the same memory
        if not self.passed and torch.is_grad_enabled() and x.requires_grad:
            if not _depends_on(logits, x):
                raise UsageError(
                    "the model's logits have no gradient by its inputs (a detach, a rounding or "
                    "no_grad in its forward): let the gradient through, or take square"
                )
            self.passed = True
        return logits

    @contextmanager
    def _own_stream(self, device: torch.device) -> Iterator[None]:
        """On the device where an attack of inputs there draws."""
        source = torch.cuda if device.type == "cuda" else torch
        at = (device,) if device.type == "cuda" else ()
        attack = source.get_rng_state(*at)
        if self.stream is None:
            source.manual_seed(int.from_bytes(sha256(attack.numpy()).digest()[:7], "big"))
        else:
            source.set_rng_state(self.stream, *at)
        try:
            yield
        finally:
            self.stream = source.get_rng_state(*at)
            source.set_rng_state(attack, *at)

    def _first(self, x: Tensor) -> Tensor:
        """The logits [B, C] of the first forward, or a UsageError."""
        try:
            logits: Any = self.model(x)
        except (torch.OutOfMemoryError, UsageError):
            raise
        except (RuntimeError, ValueError) as error:  # torch's own, of shapes and batches
            text = str(error).strip().split("\n")[0]
            if "allocate" in text:
                raise
            raise UsageError(_refused_by(self.model, x, text)) from error
        if not isinstance(logits, Tensor):
            raise UsageError(
                f"the model returns {type(logits).__name__}, attacks need logits [B, C]: wrap the "
                "model in one that returns the logits alone"
            )
        shape = [*logits.shape]
        if len(shape) < 2 or shape[1:] == [1]:
            raise UsageError(
                f"the model returns one logit for each example {shape}, attacks need one for each "
                "class: return torch.stack([-z, z], 1) / 2 for a logit z [B]"
            )
        if len(shape) > 2 or shape[0] != len(x) or not logits.is_floating_point():
            raise UsageError(
                f"the model returns {logits.dtype} {shape} for {len(x)} inputs, attacks need "
                f"logits [{len(x)}, C]: wrap the model"
            )
        if self.highest >= shape[1]:
            raise UsageError(
                f"the labels reach {self.highest}, the model has {shape[1]} classes, numbered from "
                "0: give labels of these"
            )
        if logits.isnan().any():
            raise UsageError(
                "the model's logits hold NaN: no attack can be scored by them, look at its weights "
                "and at the scale of its inputs"
            )
        self.met = True
        return logits

    def _apply(self, fn: Any, recurse: bool = True) -> Guarded:
        return self


def _depends_on(logits: Tensor, x: Tensor) -> bool:
    """Whether a gradient can come from the logits to x: a walk through the graph between them."""
    start, goal = logits.grad_fn, x.grad_fn
    if start is None:
        return False
    queue, seen = [start], {start}
    while queue:
        node = queue.pop()
        if node is goal or getattr(node, "variable", None) is x:
            return True
        following = {n for n, _ in node.next_functions if n is not None} - seen
        seen |= following
        queue.extend(following)
    return False


def _refused_by(model: nn.Module, x: Tensor, text: str) -> str:
    types = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if types and x.dtype not in types and _OF_TYPES.search(text):
        wanted = ", ".join(sorted(str(t).removeprefix("torch.") for t in types))
        return (
            f"the inputs are {str(x.dtype).removeprefix('torch.')}, the model {wanted}: take "
            f"x.to(torch.{wanted.partition(',')[0]})"
        )
    return (
        f"the model fails on inputs {[*x.shape]} ({text}): give inputs of the shape that it takes"
    )

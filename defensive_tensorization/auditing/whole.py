"""Anybody's model as an audit can work on it."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..errors import UsageError


class Whole(nn.Module):
    """The model, its logits in float32 or finer, with a gradient by the input in any case.

    Where the model itself has none (a detach, a rounding, no_grad in its forward) the gradient is
    zero: attacks that follow it find nothing, which is what the audit then says. Logits with a
    gradient by the parameters need not have one by the input, so zero is always added.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.training = network.training

    def named_modules(
        self,
        memo: set[nn.Module] | None = None,
        prefix: str = "",
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, nn.Module]]:
        """The model's own: a report calls its layers and generators by the caller's names."""
        yield from self.network.named_modules(memo, prefix, remove_duplicate)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x.clone())  # which it may overwrite
        if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.is_floating_point():
            found = [*logits.shape] if isinstance(logits, Tensor) else type(logits).__name__
            raise UsageError(
                f"the model returns {found} for inputs {[*x.shape]}, an audit needs logits [B, C]: "
                "wrap the model in one that returns the logits alone"
            )
        logits = logits.clone()  # the model may write its next answer into the same memory
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        if torch.is_grad_enabled() and x.requires_grad:
            logits = logits + 0 * x.flatten(1)[:, :1]  # a sum of float16 might be infinite
        return logits

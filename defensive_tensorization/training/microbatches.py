"""A batch that does not fit into the memory goes through in pieces, their gradients added up.

The step stays that of the whole batch. What a network makes of its neighbours does not: BatchNorm
and the sketch of a batch are then those of a piece.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError

log = logging.getLogger(__name__)

Loss = Callable[[Tensor, Tensor], Tensor]


def gradients(loss_of: Loss, x: Tensor, y: Tensor, pieces: int) -> Tensor:
    """Adds the gradients of the mean loss over the batch, and returns that loss."""
    if pieces == 1:
        loss = loss_of(x, y)
        loss.backward()
        return loss.detach()
    total = torch.zeros((), device=x.device)
    for part, labels in zip(x.chunk(pieces), y.chunk(pieces), strict=True):
        loss = loss_of(part, labels) * (len(part) / len(x))
        loss.backward()
        total += loss.detach()
    return total


@contextmanager
def within_memory(remedy: str) -> Iterator[None]:
    """Makes one line of what does not fit, with what to do about it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UsageError(f"out of memory ({_first(error)}): {remedy}") from error


def _first(error: Exception) -> str:
    return " ".join(str(error).split(". ")[0].split())


class Microbatches:
    """How many pieces a batch is cut into: twice as many whenever the memory ran out.

    streams, rewind  read and set whatever is random, so that a second try draws as the first did.
    """

    def __init__(
        self,
        network: nn.Module,
        rng_states: Callable[[], Any],
        rewind: Callable[[Any], None],
        count: int = 1,
    ) -> None:
        self.network, self.buffers = network, list(network.buffers())
        self.rng_states, self.rewind, self.count = rng_states, rewind, count

    def gradients(self, loss_of: Loss, x: Tensor, y: Tensor) -> Tensor:
        """As the function of that name; UsageError where one example alone is too much."""
        while True:
            buffers, drawn = [b.clone() for b in self.buffers], self.rng_states()
            try:
                return gradients(loss_of, x, y, self.count)
            except torch.OutOfMemoryError as error:
                reason = _first(error)
            if self.count >= len(x):
                raise UsageError(
                    f"the memory of {x.device} does not hold one example ({reason}): "
                    "take a smaller model.width, a larger device, or train.autocast=bfloat16"
                )
            for now, before in zip(self.buffers, buffers, strict=True):
                now.copy_(before)
            for parameter in self.network.parameters():
                parameter.grad = None
            self.rewind(drawn)
            if x.device.type == "cuda":
                torch.cuda.empty_cache()
            self.count = min(2 * self.count, len(x))
            log.warning(
                "out of memory: batches of %d go through in %d pieces of %d, gradients added up; "
                "the step stays that of %d, BatchNorm and each sketch see %d",
                *(len(x), self.count, -(-len(x) // self.count), len(x), -(-len(x) // self.count)),
            )

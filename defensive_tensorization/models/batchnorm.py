"""What BatchNorm normalises by when the kernels before it are random.

A draw changes the scale and mean of every activation, so statistics averaged over draws fit none
of them. The handlings (`model.batchnorm`), with docs/batchnorm.md for their measured accuracies:

    running       the averages kept in training; the ordinary way
    frozen        those of the theta = 1 network, fixed in training too
    batch         those of the batch that is predicted: a prediction depends on its neighbours
    recalibrated  those of a fixed set of training images under the very draw in use: the layer sees
                  what it saw in training, and a prediction depends on its own image alone
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UsageError
from ..sketching import products, recompute
from ..sketching.passes import Passes
from .fixed_norm import Statistics, normalise

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11

Handling = Literal["running", "frozen", "batch", "recalibrated"]
Moments = Callable[[Tensor], tuple[Tensor, Tensor, int]]
"""[B, C, ...] to mean [C] and variance [C] (divided by n) of n values a channel, and n."""


@dataclass
class _Reference:
    """The statistics that each layer of `network` met on the reference set.

    met    of each draw, those of each layer, in the order of its calls.
    calls  after the last draw: of each call, those of every draw.
    """

    network: nn.Module
    met: list[dict[_DrawBatchNorm, list[Statistics]]] = field(default_factory=list)
    calls: dict[_DrawBatchNorm, list[list[Statistics]]] | None = None

    def complete(self) -> None:
        self.calls = {}
        for norm in {norm: None for met in self.met for norm in met}:
            of_draws = [met.get(norm, []) for met in self.met]
            if len({len(each) for each in of_draws}) > 1:
                self._refuse(norm)
            self.calls[norm] = [[*each] for each in zip(*of_draws, strict=True)]

    def take(self, norm: _DrawBatchNorm) -> list[Statistics] | None:
        """Those of every draw at the layer's next call with the examples."""
        if self.calls is None:
            return None
        left = self.calls.get(norm)
        return left.pop(0) if left else self._refuse(norm)

    def used(self) -> None:
        """After the examples: they met every call of a layer, or none (a branch not taken)."""
        assert self.calls is not None
        for norm, left in self.calls.items():
            if 0 < len(left) < len(self.met[-1][norm]):
                self._refuse(norm)

    def _refuse(self, norm: _DrawBatchNorm) -> NoReturn:
        name = next((n for n, m in self.network.named_modules() if m is norm), "")
        raise UsageError(
            f"BatchNorm layer '{name}' is called more often in one forward than in another (a "
            "random branch, or one that depends on the data): recalibrate needs the same calls "
            "in every forward; choose the branch before the forward, or do without recalibrate"
        )


_reference: ContextVar[_Reference | None] = ContextVar("batchnorm_reference", default=None)


@contextmanager
def _under(reference: _Reference) -> Iterator[None]:
    token = _reference.set(reference)
    try:
        yield
    finally:
        _reference.reset(token)


class _DrawBatchNorm(nn.modules.batchnorm._BatchNorm):
    """[B, C, ...] to the same; BatchNorm with the handlings above.

    Evaluated within Recalibrated it goes by the reference, whatever its own handling.
    """

    def __init__(self, channels: int, handling: Handling = "running") -> None:
        super().__init__(channels)
        self.handling = handling
        self.shared_draws = handling == "batch"  # whose statistics need one draw for all
        self.moments: Moments | None = None  # of a batch that other processes share

    def train(self, mode: bool = True) -> Self:
        return super().train(mode and self.handling != "frozen")

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.moments is not None:
            return self._normalise_together(x, *self.moments(x))
        if self.training:
            return super().forward(x)
        reference = _reference.get()
        if reference is not None and reference.calls is None:
            return self._refer(x, reference)
        if (statistics := self._statistics(reference)) is not None:
            return normalise(x, statistics, self.weight, self.bias, self.eps)
        if self.handling == "batch":
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return super().forward(x)

    def _refer(self, x: Tensor, reference: _Reference) -> Tensor:
        """The reference set leaves its statistics, by which the examples are normalised."""
        normalised, mean, scale = torch.native_batch_norm(
            x, self.weight, self.bias, None, None, True, 0.0, self.eps
        )
        reference.met[-1].setdefault(self, []).append((mean, scale**-2 - self.eps))
        return normalised

    def _statistics(self, reference: _Reference | None) -> list[Statistics] | None:
        """Those of every draw at this call; a forward that is run again meets them again."""

        def take(_: bool) -> list[Statistics] | None:
            return reference.take(self) if reference else None

        return take(False) if recompute.ordinary() else recompute.met(self, take)

    def _normalise_together(self, x: Tensor, mean: Tensor, variance: Tensor, n: int) -> Tensor:
        """As F.batch_norm in training, which gives no gradient to statistics that it is handed."""
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None
            assert self.num_batches_tracked is not None and self.momentum is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
        mean, scale, bias = (
            v.view(-1, *[1] * (x.ndim - 2))
            for v in (mean, self.weight * (variance + self.eps).rsqrt(), self.bias)
        )
        return ((x.float() - mean) * scale + bias).to(x.dtype)


class DrawBatchNorm1d(_DrawBatchNorm, nn.BatchNorm1d):
    """[B, C, L] to the same: nn.BatchNorm1d with the handlings above."""


class DrawBatchNorm2d(_DrawBatchNorm, nn.BatchNorm2d):
    """[B, C, H, W] to the same: nn.BatchNorm2d with the handlings above."""


class DrawBatchNorm3d(_DrawBatchNorm, nn.BatchNorm3d):
    """[B, C, D, H, W] to the same: nn.BatchNorm3d with the handlings above."""


def synchronise(network: nn.Module, moments: Moments) -> None:
    """BatchNorm in training takes the statistics that `moments` finds of a batch."""
    for norm in network.modules():
        if isinstance(norm, _DrawBatchNorm):
            norm.moments = moments


class Recalibrated(nn.Module):
    """A network whose evaluation passes `reference` examples [R, C, ...] before each forward.

    They meet the very draw that the examples meet, and give the statistics that normalise those;
    no gradient runs through them. Where a batch meets several draws, they pass under each of them.
    """

    reference: Tensor

    def __init__(self, network: nn.Module, reference: Tensor) -> None:
        super().__init__()
        if any(isinstance(module, nn.DataParallel) for module in network.modules()):
            raise UsageError(
                "the statistics of a reference set do not reach DataParallel's replicas: put "
                "Recalibrated inside DataParallel"
            )
        self.network = network
        self.register_buffer("reference", reference, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self._trains():
            return cast(Tensor, self.network(x))
        passes, reference = Passes(self.network, len(x)), _Reference(self.network)
        with _under(reference), products.kept():
            self._pass_reference(passes, self._reference_as(x), reference)
            reference.complete()
            with passes.together():
                answers = cast(Tensor, self.network(x))
            reference.used()
            return answers

    def _trains(self) -> bool:
        """Whether the network is trained: by the mode of its BatchNorm layers where they agree, as
        `eval` may have been called on a part of the network and not on this wrapper."""
        norms = [m for m in self.network.modules() if isinstance(m, _DrawBatchNorm)]
        modes = {norm.training for norm in norms if norm.handling != "frozen"}
        return modes.pop() if len(modes) == 1 else self.training

    def _reference_as(self, x: Tensor) -> Tensor:
        """The reference in the type of x, and in its memory layout, which layers pass on."""
        last = torch.channels_last
        if x.ndim == 4 and not torch.compiler.is_compiling():
            here, there = (t.is_contiguous(memory_format=last) for t in (x, self.reference))
            if here and not there:
                with torch.inference_mode(False):  # it stays
                    self.reference = self.reference.contiguous(memory_format=last)
        return self.reference.to(x.dtype)

    @torch.no_grad()
    def _pass_reference(self, passes: Passes, examples: Tensor, reference: _Reference) -> None:
        """One draw after the other: a batch of all would leave the processor's caches."""
        for index in range(passes.count):
            reference.met.append({})
            with passes.alone(index):
                self.network(examples)
        torch.clear_autocast_cache()  # it holds weights that know of no gradient

"""Forwards that meet the draws of one batch: each draw alone, and then all of them, batched."""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from torch import nn

from ..errors import UsageError
from .control import sketches
from .draws import LIVE, Control, Drawn, RandomState, controls


class Passes:
    """The passes over a model before a batch of examples, and that of the batch.

    `alone` opens a pass of any batch under one of the draws that the examples will meet; the first
    makes them all, as the examples would. `together` opens the pass of the examples. Blocks of
    `record` around the passes write the draws down once.

    Args:
        model: whose sketches draw, as the blocks in force here have it.
        batch: how many examples there will be.

    Raises:
        UsageError: The examples cannot have so many equal parts, or layers differ in the number.
    """

    def __init__(self, model: nn.Module, batch: int) -> None:
        self._controls: dict[RandomState, Control] = {
            sketch: controls.get(sketch, LIVE, warn=False) for sketch in sketches(model).values()
        }
        self._made: dict[RandomState, list[Drawn | None]] = {s: [] for s in self._controls}
        counts = {c.draws_per_batch or batch for c in self._controls.values()} - {1}
        if len(counts) > 1:
            raise UsageError(
                f"layers of one model have {' and '.join(map(str, sorted(counts)))} draws in a "
                "batch: open draws_per_batch on the whole model"
            )
        self.count = counts.pop() if counts else 1
        if batch % self.count:
            raise UsageError(
                f"{batch} examples have no {self.count} equal parts: each draws by itself"
            )

    def alone(self, index: int) -> AbstractContextManager[None]:
        """A pass under draw `index` of `count`, for all of its examples; 0 comes first."""
        return self._opened(first=index == 0, part=index)

    def together(self) -> AbstractContextManager[None]:
        """The pass of the batch."""
        return self._opened(first=False)

    def _opened(self, *, first: bool, **changes: Any) -> AbstractContextManager[None]:
        opened: dict[RandomState, Control] = {}
        for sketch, control in self._controls.items():
            made = self._made[sketch]
            several = control.draws_per_batch != 1
            opened[sketch] = replace(
                control,
                draws_per_batch=self.count if several else 1,
                record=(*control.record, made) if first else (),
                replay=control.replay if first else iter(made),
                **changes,
            )
        return controls.opened(opened)

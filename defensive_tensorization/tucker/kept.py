"""Products of a layer's parameters that are computed once, while no parameter changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..sketching import eager
from ..system.same_values import same_values


class Kept:
    """Results of computations on the same parameters, by name.

    Every `get` compares the parameters with copies made when the results were. Version counters
    would be cheaper, but fused optimizers, writes through `.data` and other parameters at an old
    address (torch.func.functional_call) move none.
    """

    def __init__(self) -> None:
        self._results: dict[Hashable, Tensor] = {}
        self._values: list[Tensor] = []

    def get(
        self, what: Hashable, parameters: Sequence[Tensor], compute: Callable[[], Tensor]
    ) -> Tensor:
        """What `compute` gives for these parameters, without a graph."""
        if not self._unchanged(parameters):
            self.clear()
            with torch.inference_mode(False), torch.no_grad(), eager.plain():
                self._values = [p.detach().clone() for p in parameters]
        if what not in self._results:
            with torch.inference_mode(False), torch.no_grad(), eager.plain():
                self._results[what] = compute()
        return self._results[what]

    def clear(self) -> None:
        self._results, self._values = {}, []

    def _unchanged(self, parameters: Sequence[Tensor]) -> bool:
        """Whether they have the values, types and devices that the results were computed from."""
        return len(parameters) == len(self._values) and all(
            map(same_values, parameters, self._values)
        )

    def __getstate__(self) -> dict[str, Any]:
        """Copies and checkpoints of a layer compute their own."""
        return Kept().__dict__

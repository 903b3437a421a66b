"""Products of a layer's parameters that are computed once, while no parameter changes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..sketching import eager


class Kept:
    """Results of computations on the same parameters, by name.

    A parameter that was written in the ordinary way has another version counter: what was
    computed from it is computed anew. A write through `.data` moves no counter. `distrust`
    therefore has the next `get` compare every value with a copy made when the results were.
    """

    def __init__(self) -> None:
        self._results: dict[Hashable, Tensor] = {}
        self._state: list[tuple[int, int]] = []  # address and version of each parameter
        self._values: list[Tensor] = []
        self._trusted = True

    def get(
        self, what: Hashable, parameters: Sequence[Tensor], compute: Callable[[], Tensor]
    ) -> Tensor:
        """What `compute` gives for these parameters, without a graph."""
        state = [(p.data_ptr(), p._version) for p in parameters]
        if state != self._state or not (self._trusted or self._unchanged(parameters)):
            self.clear()
            self._state = state
            with torch.inference_mode(False), torch.no_grad(), eager.plain():
                self._values = [p.detach().clone() for p in parameters]
        self._trusted = True
        if what not in self._results:
            with torch.inference_mode(False), torch.no_grad(), eager.plain():
                self._results[what] = compute()
        return self._results[what]

    def distrust(self) -> None:
        self._trusted = False

    def clear(self) -> None:
        self._results, self._values, self._state = {}, [], []

    def _unchanged(self, parameters: Sequence[Tensor]) -> bool:
        pairs = zip(parameters, self._values, strict=True)
        return all(torch.equal(now, then) for now, then in pairs)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and checkpoints of a layer compute their own."""
        return Kept().__dict__

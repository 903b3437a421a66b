"""Modules that draw, as nn.DataParallel copies them for its threads."""

from typing import Any

from torch import nn

from ..errors import UsageError
from . import recompute
from .draws import LIVE, RandomState, controls


class Replicated(nn.Module):
    """A module with a `sketch`. Its replicas share the sketch.

    DataParallel copies modules in the thread that calls it, and runs them in others. Those threads
    know nothing of a checkpoint around the call, so the copying is the place to notice it.
    """

    sketch: RandomState

    @property
    def draws(self) -> bool:
        """Whether its forward draws, as things stand."""
        return self.sketch.random

    def _replicate_for_data_parallel(self) -> Any:
        control = controls.get(self.sketch, LIVE, warn=False)
        fixed = control.frozen is not None or control.replay is not None or not control.enabled
        if self.draws and not fixed and not recompute.ordinary() and recompute.in_region():
            raise UsageError(
                "a checkpoint around DataParallel would run its threads again under other draws: "
                "put the checkpoints into the network, DataParallel around it, or train under "
                "sketching.frozen(model, seed=0)"
            )
        return super()._replicate_for_data_parallel()  # type: ignore[no-untyped-call]

"""Hydra's own sweeper, with its jobs in rounds where they run at the same time.

It lies here because Hydra takes plugins from `hydra_plugins` alone.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from omegaconf import flag_override

from defensive_tensorization.config import Config, checked, rounds


class BasesFirst(BasicSweeper):
    """A round is launched when the one before it has ended: nobody waits in a slot for a network.

    max_batch_size  so many jobs of a round at once, for launchers that have no such limit.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None):
        super().__init__(max_batch_size, params)

    def split_arguments(  # type: ignore[override]  # Hydra's is static, and called on self
        self, overrides: Any, max_batch_size: int | None
    ) -> list[list[list[str]]]:
        (jobs,) = BasicSweeper.split_arguments(overrides, None)
        found = [(job, self._config(job)) for job in jobs]
        together = not isinstance(self.launcher, BasicLauncher)
        return [
            list(batch)
            for each in rounds(found, together=together)
            for batch in self.split_overrides_to_chunks(each, max_batch_size)
        ]

    def _config(self, job: Sequence[str]) -> Config:
        assert self.hydra_context is not None and self.config is not None
        loaded = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
        with flag_override(loaded, ["struct", "readonly"], False):
            del loaded["hydra"]
        return checked(loaded, job)

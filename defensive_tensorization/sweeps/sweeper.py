"""Hydra's own sweeper, with its jobs in rounds where they run at the same time."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from omegaconf import flag_override

from ..config import Config, checked, rounds
from ..errors import UsageError
from ..system.progress import Level
from .board import Board


class BasesFirst(BasicSweeper):
    """A round is launched when the one before it has ended: nobody waits in a slot for a network.

    max_batch_size  so many jobs of a round at once, for launchers that have no such limit.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None):
        super().__init__(max_batch_size, params)
        self._progress = ExitStack()

    def sweep(self, arguments: list[str]) -> Any:
        with self._progress:
            return super().sweep(arguments)

    def split_arguments(  # type: ignore[override]  # Hydra's is static, and called on self
        self, overrides: Any, max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The launches, in order; opens the sweep's progress line."""
        whole = isinstance(max_batch_size, int) and not isinstance(max_batch_size, bool)
        if max_batch_size is not None and not (whole and max_batch_size > 0):
            raise UsageError(
                f"hydra.sweeper.max_batch_size must be a whole number from 1 on, got "
                f"{max_batch_size!r}: so many jobs run at once"
            )
        (jobs,) = BasicSweeper.split_arguments(overrides, None)
        found = [(job, self._config(job)) for job in jobs]
        name = found[0][1].experiment.name
        together = not isinstance(self.launcher, BasicLauncher)
        launches = [
            (number, list(batch))
            for number, each in enumerate(rounds(found, together=together), 1)
            for batch in self.split_overrides_to_chunks(each, max_batch_size)
        ]
        batches = [batch for _, batch in launches]
        if not together:
            if len(jobs) > 1:
                self._progress.enter_context(Level(name, sum(map(len, batches)), "runs"))
        elif launches:
            board = Board(name, batches, [number for number, _ in launches])
            self._progress.enter_context(board)
            self.launcher.board = board  # type: ignore[union-attr]
        return batches

    def _config(self, job: Sequence[str]) -> Config:
        assert self.hydra_context is not None and self.config is not None
        loaded = self.hydra_context.config_loader.load_sweep_config(self.config, list(job))
        with flag_override(loaded, ["struct", "readonly"], False):
            del loaded["hydra"]
        return checked(loaded, job)

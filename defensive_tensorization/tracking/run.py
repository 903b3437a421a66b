"""One W&B run per step of the work, or a stand-in that does nothing.

Nothing here stops a step once it has started: the first failure is logged as one warning, and W&B
is left alone from then on. wandb is imported by `start` only, and not at all when disabled.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .key import Mode, mode_of
from .lineage import Item, artifact
from .server import reason

log = logging.getLogger(__name__)

START_S, FINISH_S = 30, 30  # how long W&B's server may keep a run waiting
FINISHED = "finished"  # a file in an offline run's directory that nobody writes to any more
_failed: set[Mode] = set()  # modes in which W&B could not be started: this process asks once


class Run:
    """One W&B run, or a stand-in that does nothing. A context manager: leaving it finishes the run.

    path: the offline run's directory, the online run's URL, or None when nothing is recorded.
    axis: what its curves are drawn against; artifacts: none, reference or upload.
    """

    def __init__(self, run: Any = None, axis: str = "epoch", artifacts: str = "reference") -> None:
        self._run = run
        self._axis = axis
        self._artifacts = artifacts
        self.path: str | None = None
        if run is not None:
            self.path = str(Path(run.dir).parent) if run.offline else run.url

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, kind: object, *raised: object) -> None:
        def finish() -> None:
            self._run.finish(exit_code=0 if kind is None else 1)
            if self._run.offline:
                (Path(self._run.dir).parent / FINISHED).touch()

        self._try(finish)

    def log(self, metrics: Mapping[str, float], at: float | None = None) -> None:
        """One point of every curve named, at a place on the run's axis where one is given."""
        point = dict(metrics) if at is None else {**metrics, self._axis: at}
        self._try(lambda: self._run.log(point))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        def send() -> None:
            import wandb

            data = [list(row) for row in rows]
            self._run.log({name: wandb.Table(columns=list(columns), data=data)})

        self._try(send)

    def summary(self, values: Mapping[str, object]) -> None:
        """The run's final values, one a name."""
        self._try(lambda: self._run.summary.update(dict(values)))

    def image(self, name: str, draw: Callable[[], Path | None]) -> None:
        """The picture that `draw` makes, which is called only where there is a run to show it."""

        def send() -> None:
            import wandb

            path = draw()
            if path is not None:
                self._run.log({name: wandb.Image(str(path))})

        self._try(send)

    def audio(self, name: str, path: Path, caption: str) -> None:
        """A sound file, to be played beside its caption."""

        def send() -> None:
            import wandb

            self._run.log({name: wandb.Audio(str(path), caption=caption)})

        self._try(send)

    def used(self, item: Item) -> None:
        """The item is what this run was made from.

        W&B's own `use_artifact` refuses offline, and online waits for the upload; what it calls
        does neither.
        """
        self._artifact(
            item,
            lambda made: self._run._log_artifact(made, is_user_created=True, use_after_commit=True),
        )

    def made(self, item: Item) -> None:
        """The item is what this run made."""
        self._artifact(item, lambda made: self._run.log_artifact(made))

    def _artifact(self, item: Item, send: Callable[[Any], object]) -> None:
        if self._artifacts != "none" and all(file.exists() for file in item.files):
            self._try(lambda: send(artifact(item, upload=self._artifacts == "upload")))

    def _try(self, send: Callable[[], object]) -> None:
        if self._run is None:
            return
        try:
            send()
        except Exception as error:
            broken, self._run = self._run, None
            log.warning(
                "W&B stopped recording this run (%s); the rows are not affected", reason(error)
            )
            with suppress(Exception):
                broken.finish(exit_code=1)
            _leave()


def start(
    *,
    mode: str,
    project: str,
    dir: Path,
    name: str,
    group: str,
    job_type: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
    axis: str = "epoch",
    artifacts: str = "reference",
) -> Run:
    """Open a W&B run whose every file lies under `dir`.

    mode: online, offline or disabled; where it says offline, WANDB_MODE may say otherwise.
    Raises UsageError as `mode_of` does. Where W&B is absent or does not answer, one line says so
    and this process goes on without it.
    """
    chosen = mode_of(mode)
    if chosen == "disabled" or chosen in _failed:
        return Run()
    try:
        run = _init(chosen, Path(dir), project, name, group, job_type, tags, config, axis)
    except Exception as error:
        _failed.add(chosen)
        log.warning(
            "W&B cannot be started (%s): nothing is recorded there by this process; "
            "the rows are not affected",
            reason(error),
        )
        _leave()
        return Run()
    return Run(run, axis, artifacts)


def _init(
    mode: Mode,
    dir: Path,
    project: str,
    name: str,
    group: str,
    job_type: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
    axis: str,
) -> Any:
    dir.mkdir(parents=True, exist_ok=True)
    for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        os.environ.setdefault(variable, str(dir.resolve() / "cache"))
    os.environ.setdefault("WANDB_SILENT", "true")  # what there is to say is said in our log

    import wandb

    run = wandb.init(
        mode=mode,
        project=project,
        dir=str(dir),
        name=name,
        group=group,
        job_type=job_type,
        tags=list(tags),
        config=dict(config),
        reinit="create_new",
        settings=wandb.Settings(
            silent=True,
            console="off",
            init_timeout=START_S,
            finish_timeout=FINISH_S,
            finish_timeout_raises=True,
        ),
    )
    if axis:
        run.define_metric(axis)
        run.define_metric("*", step_metric=axis)
    return run


def _leave() -> None:
    """Ends W&B's own process, which would else report its failure again when ours ends."""
    if sys.modules.get("wandb"):
        with suppress(Exception, SystemExit):
            sys.modules["wandb"].teardown(exit_code=1)

"""The W&B mirror: one run per train/eval. The rows are the truth; losing W&B loses nothing.

Nothing here stops a run once it has started: the first failure is logged as one warning, and W&B
is left alone from then on. wandb is imported by `start` only, and not at all when disabled.
"""

import logging
import netrc
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlsplit

from defensive_tensorization.errors import UsageError

log = logging.getLogger(__name__)

Mode = Literal["online", "offline", "disabled"]
MODES: dict[str, Mode] = {
    "online": "online",
    "offline": "offline",
    "disabled": "disabled",
    "run": "online",  # W&B's older names, still found in people's WANDB_MODE
    "dryrun": "offline",
}


class Run:
    """One W&B run, or a stand-in that does nothing. A context manager: leaving it finishes the run.

    path: the offline run's directory, the online run's URL, or None when nothing is recorded.
    """

    def __init__(self, run: Any = None) -> None:
        self._run = run
        self.path: str | None = None
        if run is not None:
            self.path = str(Path(run.dir).parent) if run.offline else run.url

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._try(lambda: self._run.finish(exit_code=0 if kind is None else 1))

    def log(self, metrics: Mapping[str, float], epoch: int | None = None) -> None:
        """One point of every curve named, against the epoch where one is given."""
        point = dict(metrics) if epoch is None else {**metrics, "epoch": epoch}
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

    def image(self, name: str, path: Path) -> None:
        def send() -> None:
            import wandb

            self._run.log({name: wandb.Image(str(path))})

        self._try(send)

    def audio(self, name: str, path: Path, caption: str) -> None:
        """A sound file, to be played beside its caption."""

        def send() -> None:
            import wandb

            self._run.log({name: wandb.Audio(str(path), caption=caption)})

        self._try(send)

    def _try(self, send: Callable[[], object]) -> None:
        if self._run is None:
            return
        try:
            send()
        except Exception as error:
            self._run = None
            _warn(error)


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
) -> Run:
    """Open a W&B run whose every file lies under `dir`.

    mode: online, offline or disabled; where it says offline, WANDB_MODE may say otherwise.
    Raises UsageError for an unknown mode, and for online without a key.
    """
    chosen = mode_of(mode)
    if chosen == "disabled":
        return Run()
    try:
        return Run(_init(chosen, Path(dir), project, name, group, job_type, tags, config))
    except Exception as error:
        _warn(error)
        return Run()


def _init(
    mode: Mode,
    dir: Path,
    project: str,
    name: str,
    group: str,
    job_type: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
) -> Any:
    dir.mkdir(parents=True, exist_ok=True)
    for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
        os.environ.setdefault(variable, str(dir.resolve() / "cache"))

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
        settings=wandb.Settings(silent=True, console="off", init_timeout=30),
    )
    run.define_metric("epoch")
    run.define_metric("*", step_metric="epoch")
    return run


def mode_of(configured: str) -> Mode:
    """The mode that will be used: WANDB_MODE may change offline. UsageError as `start` says."""
    name, source = configured, "logger.mode"
    if configured == "offline" and "WANDB_MODE" in os.environ:
        name, source = os.environ["WANDB_MODE"], "WANDB_MODE"
    if name not in MODES:
        raise UsageError(f"{source} must be online, offline or disabled, got {name!r}")
    if MODES[name] == "online" and not _has_key():
        raise UsageError(
            f"{source}={name} needs a W&B key and none was found: "
            "run `wandb login` or set WANDB_API_KEY, or take logger.mode=offline"
        )
    return MODES[name]


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).netloc
    home = Path.home()
    files = [os.environ["NETRC"]] if "NETRC" in os.environ else [home / ".netrc", home / "_netrc"]
    return any(_names(Path(file).expanduser(), host) for file in files)


def _names(file: Path, host: str) -> bool:
    try:
        return netrc.netrc(file).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _warn(error: Exception) -> None:
    reason = " ".join(str(error).split()) or type(error).__name__
    log.warning("W&B stopped recording this run (%s); the rows are not affected", reason)

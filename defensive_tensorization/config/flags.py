"""Hydra's own flags and refusals, and those of launchers, in one line."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from traceback import walk_tb
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from ..errors import UsageError
from .refuse import refusal
from .schema import Config

_PATHS = (("paths", "runs"), ("paths", "results"), ("dataset", "root"), ("dataset", "cache"))
_MODES = ("run", "multirun", "cfg", "info", "shell_completion")
_KEYS = r"hydra\.(?:run|sweep)\.dir|paths\.\w+|dataset\.(?:root|cache)"
_FOLDER = re.compile(rf"(\+*(?:{_KEYS})=)(['\"]?)(~[^'\",]*)(['\"]?)")
_LAUNCHING = {"launch", "instantiate_launcher"}  # functions of Hydra's, and of our launchers
_MAKING = {"mkdir", "makedirs"}
_LAUNCHERS = re.compile(r"hydra|\bsweeps\b")


def home(path: str, key: str) -> str:
    """The path with a leading ~ expanded; UsageError for the ~ of nobody."""
    made = os.path.expanduser(path)
    if made.startswith("~"):
        raise UsageError(f"{key}={path}: there is no such home folder, write the path from /")
    return made


def at_home(config: Config) -> None:
    """Expand ~ in every path of the configuration, in place."""
    for node, name in _PATHS:
        holder = getattr(config, node)
        if (path := getattr(holder, name)) is not None:
            setattr(holder, name, home(path, f"{node}.{name}"))


def flags(words: Sequence[str]) -> list[str]:
    """The words of the command line, ~ expanded where Hydra would stumble over it.

    Raises:
        UsageError: for flags that Hydra does not know or that this program does not take.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    found = parser.parse_args(list(words))
    for name in ("config_name", "config_path"):
        if (value := getattr(found, name)) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} {value}: the configuration is configs/config.yaml, "
                "choose with group=option, or add a folder of options with --config-dir"
            )
    if found.experimental_rerun is not None:
        raise UsageError(
            f"--experimental-rerun {found.experimental_rerun}: give the command itself again, it "
            "goes on where it was"
        )
    modes = [name for name in _MODES if getattr(found, name)]
    if len(modes) > 1:
        said = " and ".join(f"--{name.replace('_', '-')}" for name in modes)
        shown = "--cfg job shows one run, leave -m out"
        remedy = shown if {"multirun", "cfg"} <= {*modes} else "take one of them"
        raise UsageError(f"{said} do not go together: {remedy}")
    folder = found.config_dir
    if folder is not None and not os.path.isdir(home(folder, "--config-dir")):
        raise UsageError(f"--config-dir {folder} is no folder: name one that holds configurations")
    return [_expanded(word, folder) for word in words]


@contextmanager
def in_one_line(words: Sequence[str]) -> Iterator[None]:
    """What Hydra or a launcher refuses, as a UsageError; errors of a job are left alone."""
    try:
        yield
    except SystemExit as ended:
        raise SystemExit(2 if ended.code == 1 else ended.code) from None  # Hydra's own refusals
    except (UsageError, MemoryError):
        raise
    except Exception as error:
        if (refused := refusal(error, words)) is not None:
            raise refused from error
        at = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        if any(code.co_name == "_job" for code in at):
            raise
        if isinstance(error, OSError) and any(c.co_name in _MAKING for c in at):
            raise UsageError(
                f"the folder {error.filename} cannot be made ({error.strerror}): name another with "
                "paths.runs, or hydra.run.dir and hydra.sweep.dir"
            ) from error
        own = [word for word in words if word.lstrip("+~").startswith(("hydra.", "hydra/"))]
        if not any(c.co_name in _LAUNCHING and _LAUNCHERS.search(c.co_filename) for c in at):
            if not own or "hydra" not in at[-1].co_filename:
                raise
            raise UsageError(
                f"{' '.join(own)}: Hydra cannot work with that ({reason}): see --hydra-help, or "
                "leave it out"
            ) from error
        raise UsageError(
            f"the launcher cannot start the jobs ({reason}): see configs/hydra/launch for its "
            "settings, or leave hydra/launcher out"
        ) from error


def _expanded(word: str, folder: str | None) -> str:
    if word == folder:
        return home(word, "--config-dir")
    if folder is not None and word == f"--config-dir={folder}":
        return f"--config-dir={home(folder, '--config-dir')}"
    if found := _FOLDER.fullmatch(word):
        key, opened, path, closed = found.groups()
        return f"{key}{opened}{home(path, key.rstrip('='))}{closed}"
    return word


def _refuse(message: str) -> NoReturn:
    raise UsageError(f"{message}: see --help")

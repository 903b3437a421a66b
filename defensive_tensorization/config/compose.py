"""From the words of a command line to checked configurations: one, or one for each job."""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import fields
from functools import lru_cache
from typing import cast

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ..errors import UsageError
from .check import checked
from .files import CONFIGS
from .identity import plain
from .landscape import OWN
from .outside import importable
from .parsed import parsed_once
from .refuse import refusal, refuse_malformed
from .schema import Config

_VALUES = {f.name for f in fields(Config) if f.type in (int, float, str)}


def composed(overrides: Sequence[str]) -> Config:
    """The checked configuration of one job's overrides, or a UsageError."""
    refuse_malformed(overrides)
    importable(overrides)
    try:
        return checked(_composed(overrides), overrides)
    except Exception as error:
        raise refusal(error, overrides) or error from error


def _composed(overrides: Sequence[str]) -> DictConfig:
    """As Hydra puts the files together, to be read alone: a table composes a method many times."""
    if GlobalHydra.instance().is_initialized():  # within a job, which may have files of its own
        return compose("config", list(overrides))
    return _from_our_files(str(CONFIGS), tuple(overrides))


@lru_cache(maxsize=1024)
def _from_our_files(folder: str, overrides: tuple[str, ...]) -> DictConfig:
    values = tuple(word for word in overrides if _sets_a_value(word))
    if values:
        groups = tuple(word for word in overrides if word not in values)
        config = deepcopy(_from_our_files(folder, groups))
        if _set(config, values):
            return config
    with _hydra():
        return compose("config", list(overrides))


def _sets_a_value(word: str) -> bool:
    """Whether it is key=value of a key that no group of files has, and of ours."""
    key = word.partition("=")[0]
    return bool(re.fullmatch(r"(?!hydra\b)\w+(\.\w+)+", key)) or key in _VALUES


def _set(config: DictConfig, values: Sequence[str]) -> bool:
    """Set the values as Hydra does, after all groups; False for one that Hydra would refuse."""
    try:
        for each in OverridesParser.create().parse_overrides(list(values)):
            if each.is_sweep_override():
                return False
            OmegaConf.update(config, each.key_or_group, each.value(), merge=True)
    except Exception:  # whatever it is, Hydra tells it
        return False
    return True


def plane_of(config: Config, overrides: Sequence[str]) -> Config | None:
    """The run whose gradient spans a landscape's plane: the same words under another method.

    What a method stands for, defence and theta, it decides. None: the configuration's own gradient.
    """
    if config.landscape is None or config.landscape.directions == OWN:
        return None
    decided = ("method", "defence", "theta")
    others = [word for word in overrides if word.lstrip("+").partition("=")[0] not in decided]
    return composed([*others, f"method={config.landscape.directions}"])


def amended(config: Config, overrides: Sequence[str]) -> Config:
    """Another configuration: key=value overrides of a checked one; no groups can be chosen."""
    refuse_malformed(overrides)
    try:
        changed = OmegaConf.merge(plain(config), OmegaConf.from_dotlist(list(overrides)))
        return checked(cast(DictConfig, changed), overrides)
    except Exception as error:
        raise refusal(error, overrides) or error from error


def jobs(overrides: Sequence[str], *, multirun: bool = False) -> list[Config]:
    """Every job's checked configuration, so that a bad one is refused before the first begins.

    A sweep is what `-m` says it is, or an experiment that sets hydra.mode.
    """
    refuse_malformed(overrides)
    search = importable(overrides)
    try:
        first = _split(overrides)[0] if multirun else list(overrides)
        with _hydra():
            hydra = compose("config", first, return_hydra_config=True).hydra
    except Exception as error:
        raise refusal(error, overrides) or error from error
    if not (multirun or hydra.mode == RunMode.MULTIRUN):
        return _with_theta([composed(overrides)], overrides)
    swept = [f"{key}={value}" for key, value in (hydra.sweeper.params or {}).items()]
    made = [composed([*job, *search]) for job in _split([*swept, *overrides])]
    return _with_theta(made, overrides)


def _with_theta(made: list[Config], overrides: Sequence[str]) -> list[Config]:
    """The jobs; a UsageError where theta was asked for and none of them has a kernel to draw."""
    said = [word for word in overrides if word.lstrip("+").startswith("theta=")]
    if said and all(job.defence.conv is None for job in made) and any(j.theta < 1 for j in made):
        names = {f"defence={job.defence.name}": None for job in made}
        raise UsageError(
            f"{said[-1].lstrip('+')} changes nothing with {' and '.join(names)}, which factorizes "
            "no kernel: leave theta out, or take defence=tensorization"
        )
    return made


def _hydra() -> AbstractContextManager[None]:
    """Within a job Hydra reads our files already, and refuses to be started twice."""
    if GlobalHydra.instance().is_initialized():
        return nullcontext()
    started = initialize_config_dir(str(CONFIGS), version_base="1.3")
    parsed_once(GlobalHydra.instance().config_loader().get_sources())
    return started


def launched(words: Sequence[str]) -> list[str]:
    """A launcher with our settings of it, hydra/launch: a file of the launcher's own name would be
    checked against the plugin's, and could not set the jobs' threads. With device=cpu the settings
    are those of NAME_cpu, where there is one."""
    settings = {path.stem for path in (CONFIGS / "hydra" / "launch").glob("*.yaml")}
    group = "hydra/launcher="
    named = [word.removeprefix(group) for word in words if word.startswith(group)]
    if "device=cpu" in words:
        named = [f"{name}_cpu" if f"{name}_cpu" in settings else name for name in named]
    return [*words, *(f"+hydra/launch={name}" for name in named if name in settings)]


def _split(overrides: Sequence[str]) -> list[list[str]]:
    """As Hydra's own sweeper does: one list of overrides for each point of the grid."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [list(job) for batch in BasicSweeper.split_arguments(parsed, None) for job in batch]

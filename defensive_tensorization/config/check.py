"""Composing and checking: what is wrong becomes one line with the key, the value, the remedy."""

import re
from math import isfinite
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UsageError
from .schema import Config

CONFIGS = Path(__file__).parents[2] / "configs"

ConfigStore.instance().store(name="schema", node=Config)

_CHOICES = {
    "model.batchnorm": ("running", "frozen", "batch", "recalibrated"),
    "train.init": ("theta1", "scratch"),
    "train.autocast": ("float32", "bfloat16"),
    "eval.autocast": ("float32", "bfloat16"),
    "logger.mode": ("offline", "online", "disabled"),
    "tucker.init": ("hosvd", "random"),
}
_AT_LEAST_ONE = (
    "model.width",
    "model.reference",
    "train.epochs",
    "train.batch_size",
    "eval.batch_size",
    "eval.runs",
)


def checked(composed: DictConfig) -> Config:
    """The typed configuration, or a UsageError. Merging into the schema again catches `+key=`."""
    try:
        values = OmegaConf.to_container(composed, resolve=True)
        merged = OmegaConf.merge(OmegaConf.structured(Config), values)
        config = cast(Config, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise usage_error(error) from error
    if not 0 < config.theta <= 1:
        raise UsageError(
            f"theta must lie in (0, 1], got {config.theta:g}: theta=1 keeps everything"
        )
    for key, allowed in _CHOICES.items():
        value = OmegaConf.select(merged, key)
        if value not in allowed:
            raise UsageError(f"{key} must be one of {', '.join(allowed)}, got {value!r}")
    for key in _AT_LEAST_ONE:
        value = OmegaConf.select(merged, key)
        if value < 1:
            raise UsageError(f"{key} must be at least 1, got {value}")
    for key in ("train.optimizer.lr", "train.lr_scale", "train.gamma"):
        value = OmegaConf.select(merged, key)
        if not (isfinite(value) and value > 0):
            raise UsageError(f"{key} must be a positive number, got {value}")
    config.dataset.unit = parse_epsilon(config.dataset.unit, 1.0, key="dataset.unit")
    for name, attack in config.attack.items():
        values = attack.epsilon if isinstance(attack.epsilon, list) else [attack.epsilon]
        key = f"attack.{name}.epsilon"
        attack.epsilon = [parse_epsilon(value, config.dataset.unit, key=key) for value in values]
    return config


def parse_epsilon(value: Any, unit: float, *, key: str = "epsilon") -> float:
    """An epsilon in the data's unit: `8` counts units, `8/255` is an amplitude in [0, 1]."""
    text = str(value).strip()
    fraction = re.fullmatch(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)", text)
    try:
        number = float(fraction[1]) / float(fraction[2]) / unit if fraction else float(text)
    except (ValueError, ZeroDivisionError):
        number = -1.0
    if not (isfinite(number) and number >= 0):
        raise UsageError(
            f"{key}={text} cannot be read: write a number >= 0 (8 means 8/255 on images) or a "
            "fraction such as 8/255"
        )
    return number if unit == 1 else round(number, 9)


def composed(overrides: list[str]) -> Config:
    """The checked configuration of a list of command-line overrides."""
    try:
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return checked(compose("config", overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise usage_error(error) from error


def usage_error(error: Exception) -> UsageError:
    """Hydra's and OmegaConf's many-line messages as one: the key, the value, the remedy."""
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__
    key = getattr(cause, "full_key", None) or ""
    text = " ".join(str(error).split())
    first = " ".join(str(cause).split("\n")[0].split())
    option = re.search(
        r"Could not find '([^']+)'.*Available options in '([^']+)': (.*?)(?: Config search|$)", text
    )
    if option:
        return UsageError(
            f"{option[1]} does not exist: choose one of {', '.join(option[3].split())}"
        )
    unknown = re.search(r"Could not override '([^']+)'|Key '([^']+)' (?:is )?not in", text)
    if unknown:
        name = key or unknown[1] or unknown[2]
        return UsageError(f"unknown key '{name}': see configs/config.yaml for the keys there are")
    if key:
        return UsageError(f"{key}: {first}; see configs/config.yaml")
    return UsageError(f"{first}; see configs/config.yaml")

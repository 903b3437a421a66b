"""Composing and checking: what is wrong becomes one line with the key, the value, the remedy."""

import re
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UsageError
from .schema import AttackConfig, Config, TuckerConfig

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
_RANGES: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    (
        "at least 1",
        lambda value: value >= 1,
        (
            *("model.width", "model.reference", "train.epochs", "train.batch_size"),
            *("train.images", "eval.batch_size", "eval.runs", "eval.images"),
        ),
    ),
    (
        "a positive number",
        lambda value: value > 0,
        ("train.optimizer.lr", "train.lr_scale", "train.gamma"),
    ),
    (
        "at least 0",
        lambda value: value >= 0,
        ("eval.seed", "seed", "train.crop", "tucker.min_dim", "tucker.min_keep"),
    ),
    ("between 0 and 1", lambda value: 0 <= value <= 1, ("train.warmup",)),
)


def checked(composed: DictConfig) -> Config:
    """The typed configuration, or a UsageError. Merging into the schema again catches `+key=`."""
    try:
        values = OmegaConf.to_container(composed, resolve=True)
        merged = OmegaConf.merge(OmegaConf.structured(Config), values)
        config = cast(Config, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise usage_error(error) from error
    theta = f"{config.theta:g}" if float(f"{config.theta:g}") == config.theta else config.theta
    if not 0 < config.theta <= 1:
        raise UsageError(f"theta must lie in (0, 1], got {theta}: theta=1 keeps everything")
    for key, allowed in _CHOICES.items():
        value = OmegaConf.select(merged, key)
        if value not in allowed:
            raise UsageError(f"{key} must be one of {', '.join(allowed)}, got {value!r}")
    for rule, holds, keys in _RANGES:
        for key in keys:
            value = OmegaConf.select(merged, key)
            if value is not None and not (isfinite(value) and holds(value)):
                raise UsageError(f"{key} must be {rule}, got {value}")
    _check_tucker(config.tucker)
    for name, attack in config.attack.items():
        _check_attack(f"attack.{name}", attack)
    config.dataset.unit = parse_epsilon(config.dataset.unit, 1.0, key="dataset.unit")
    for name, attack in config.attack.items():
        values = attack.epsilon if isinstance(attack.epsilon, list) else [attack.epsilon]
        key = f"attack.{name}.epsilon"
        if not values:
            raise UsageError(f"{key}=[] has no epsilon: write one, such as [8], or attack=[]")
        read = [parse_epsilon(value, config.dataset.unit, key=key) for value in values]
        attack.epsilon = list(dict.fromkeys(read))  # 8 and 8/255 are one epsilon
    return config


def _check_tucker(tucker: TuckerConfig) -> None:
    rank, modes = tucker.rank, tucker.modes
    number = isinstance(rank, int | float) and not isinstance(rank, bool) and 0 < rank <= 1
    if rank not in ("full", "same") and not number:
        raise UsageError(f"tucker.rank must be full, same or a fraction in (0, 1], got {rank!r}")
    if modes is not None and not (isinstance(modes, list) and set(modes) <= {0, 1, 2, 3, 4}):
        raise UsageError(
            f"tucker.modes must list modes of the core (0 filters, 1 channels, 2... window), "
            f"got {modes}"
        )


def _check_attack(key: str, attack: AttackConfig) -> None:
    if attack.steps is not None and attack.steps < 1:
        raise UsageError(f"{key}.steps must be at least 1, got {attack.steps}")
    size = attack.step_size
    if size is not None and not (isinstance(size, int | float) and size > 0):
        raise UsageError(f"{key}.step_size must be positive, in the data's unit, got {size}")
    if attack.steps_round not in (None, "floor", "nearest", "ceil"):
        raise UsageError(
            f"{key}.steps_round must be one of floor, nearest, ceil, got {attack.steps_round!r}"
        )


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
    except Exception as error:
        refused = refusal(error)
        if refused is None:
            raise
        raise refused from error


_READINGS = (
    (
        r"Could not find '([^']+)'.*Available options in '[^']+': (.*?)(?: Config search|$)",
        "{0} does not exist: choose one of {1}",
    ),
    (
        r"An item is already at '([^']+)'.*Either remove \+ prefix: '([^']+)'",
        "{0} exists already: write {1} without the +",
    ),
    (r"Ambiguous value for argument '([^']+)'", "{0} is a sweep: add -m, or quote the value"),
    (
        r"Could not override '([^']+)'|Key '([^']+)' (?:is )?not in",
        "unknown key '{0}': see configs/config.yaml for the keys there are",
    ),
    (r"field '([^']+)' is not Optional", "{0} needs a value, got None: see configs/config.yaml"),
    (
        r"Config group override must be a string or a list. Got NoneType",
        "a group cannot be null: name one of its options (attack=[] means no attack); see --help",
    ),
)


def refusal(error: Exception) -> UsageError | None:
    """What Hydra or OmegaConf refused, on one line; None for an error of another kind."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        return usage_error(error)
    if type(error) is ValueError and "Config group override" in str(error):
        return usage_error(error)
    return None


def usage_error(error: Exception) -> UsageError:
    """Hydra's and OmegaConf's many-line messages as one: the key, the value, the remedy."""
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__
    key = getattr(cause, "full_key", None) or ""
    text = " ".join(f"{error} {cause}".split())
    absent = re.search(r"Could not load '([^']+)/[^/']+'", text)
    if absent:
        options = ", ".join(sorted(path.stem for path in (CONFIGS / absent[1]).glob("*.yaml")))
        return UsageError(f"{absent[0][16:-1]} does not exist: choose one of {options}")
    for pattern, message in _READINGS:
        found = re.search(pattern, text)
        if found:
            parts = [part for part in found.groups() if part]
            if key and message.startswith("unknown"):
                parts = [key]
            return UsageError(message.format(*(", ".join(part.split()) for part in parts)))
    first = " ".join(str(cause).split("\n")[0].split())
    return UsageError(f"{f'{key}: ' if key else ''}{first}; see configs/config.yaml")

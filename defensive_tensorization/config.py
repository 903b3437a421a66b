"""The configuration: its schema, its checks, and what in it decides a network's weights.

With run.py, the only file that knows Hydra and OmegaConf. An unknown key, a wrong type or a value
out of its range becomes one line: the key, the value, the remedy.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import MISSING as REQUIRED
from dataclasses import dataclass, field, fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from hydra.utils import get_object, instantiate
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .errors import UsageError

CONFIGS = Path(__file__).parents[1] / "configs"


@dataclass
class DatasetConfig:
    _target_: str = MISSING
    name: str = MISSING
    unit: Any = MISSING
    source: str | None = None
    root: str | None = None
    download: bool | None = None
    cache: str | None = None


@dataclass
class ModelConfig:
    _target_: str = MISSING
    name: str = MISSING
    width: int = MISSING
    batchnorm: str = "running"
    reference: int = 128


@dataclass
class PrecisionConfig:
    name: str = MISSING


@dataclass
class TuckerConfig:
    rank: Any = "full"
    modes: Any = None
    min_dim: int = 1
    min_keep: int = 1
    rescale: bool = False
    init: str = "hosvd"


@dataclass
class ConvConfig(TuckerConfig):
    _target_: str = MISSING
    theta: float = 1.0


@dataclass
class DefenceConfig:
    """Three optional slots: a layer factory, a transform of the input, a training-time attack."""

    name: str = MISSING
    batchnorm: str = "running"
    conv: ConvConfig | None = None


@dataclass
class OptimizerConfig:
    _target_: str = MISSING
    lr: float = MISSING
    momentum: float | None = None
    weight_decay: float | None = None


@dataclass
class TrainConfig:
    name: str = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    milestones: list[float] = MISSING
    gamma: float = MISSING
    warmup: float = 0.0
    init: str = MISSING
    lr_scale: float = 1.0
    crop: int = 0
    autocast: str = "float32"
    images: int | None = None


@dataclass
class ScaleConfig:
    name: str = MISSING
    width: int = MISSING
    epochs: int = MISSING
    autocast: str = MISSING
    train_images: int | None = None
    eval_images: int | None = None
    eval_runs: int = MISSING


@dataclass
class AttackConfig:
    _target_: str = MISSING
    epsilon: Any = MISSING
    step_size: Any = None
    steps: int | None = None
    steps_round: str | None = None


@dataclass
class EvalConfig:
    epsilon: Any = MISSING
    images: int | None = None
    runs: int = MISSING
    seed: int = 0
    batch_size: int = MISSING
    autocast: str = "float32"


@dataclass
class LoggerConfig:
    mode: str = MISSING
    project: str = MISSING


@dataclass
class PathsConfig:
    runs: str = MISSING
    results: str = MISSING


@dataclass
class ExperimentConfig:
    """What a table is: its methods (columns, by label) and where it is published."""

    name: str = "adhoc"
    title: str = ""
    published: str | None = None
    columns: dict[str, str] = field(default_factory=dict)


@dataclass
class Config:
    dataset: DatasetConfig = MISSING
    model: ModelConfig = MISSING
    precision: PrecisionConfig = MISSING
    defence: DefenceConfig = MISSING
    attack: dict[str, AttackConfig] = field(default_factory=dict)
    train: TrainConfig = MISSING
    scale: ScaleConfig = MISSING
    eval: EvalConfig = field(default_factory=EvalConfig)
    tucker: TuckerConfig = field(default_factory=TuckerConfig)
    logger: LoggerConfig = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    theta: float = MISSING
    seed: int = MISSING
    device: str = MISSING


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


def construct(target: str, **options: Any) -> Any:
    """Call what the dotted path names, the options handed over as they are."""
    return get_object(target)(**options)


def build(node: Any, **extra: Any) -> Any:
    """Call what `_target_` names with the node's other values; None means: not given."""
    options = {k: v for k, v in vars(node).items() if v is not None and k != "_target_"}
    try:
        return instantiate({"_target_": node._target_, **options}, **extra, _convert_="all")
    except HydraException as error:
        if isinstance(error.__cause__, UsageError):
            raise error.__cause__ from None
        raise


# --- identity -------------------------------------------------------------------------------


def base_of(config: Config) -> Config | None:
    """The run that this one's weights start from: ours at theta = 1, under ordinary BatchNorm."""
    conv = config.defence.conv
    if config.train.init != "theta1" or conv is None or conv.theta == 1:
        return None
    base = deepcopy(config)
    assert base.defence.conv is not None
    base.theta = base.defence.conv.theta = 1.0
    base.train.lr_scale = 1.0
    return base


def batchnorm(config: Config) -> Any:
    """BatchNorm's handling; a network without random kernels needs none."""
    conv = config.defence.conv
    return config.model.batchnorm if conv is not None and conv.theta < 1 else "running"


def recipe(config: Config) -> str:
    """16 hex digits that stand for everything in the configuration that decides the weights.

    Values equal to the schema's default are left out, so a later field whose default means the
    old behaviour leaves old identities alone.
    """
    c = deepcopy(config)
    c.model.batchnorm = (
        "frozen" if batchnorm(c) == "frozen" else "running"
    )  # the others train alike
    c.model.reference = ModelConfig.reference
    c.defence.batchnorm = DefenceConfig.batchnorm
    if base_of(config) is None:
        c.train.init = "scratch"
    if (
        c.defence.conv and c.defence.conv.theta == 1
    ):  # what shapes a sketch has no part in a run without one
        for name in ("modes", "min_dim", "min_keep", "rescale"):
            setattr(c.defence.conv, name, _default(TuckerConfig, name))
    identity = {
        "dataset": {"name": c.dataset.name},
        "model": _told(c.model),
        "precision": _told(c.precision),
        "defence": _told(c.defence),
        "train": _told(c.train),
        "scale": c.scale.name,
        "seed": c.seed,
    }
    return digest(identity, 16)


def run_id(config: Config, fingerprint: str) -> str:
    """Every axis spelled out: cifar10-resnet18-real-theta0.9-seed0-<hash8>."""
    conv = config.defence.conv
    parts = [config.dataset.name, config.model.name, config.precision.name]
    if config.defence.name != "tensorization":
        parts.append("dense" if config.defence.name == "none" else config.defence.name)
    if conv is not None:
        parts.append(f"theta{conv.theta:g}")
    return "-".join([*parts, f"seed{config.seed}", fingerprint[:8]])


def digest(value: Any, digits: int) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:digits]


def plain(config: Any) -> dict[str, Any]:
    """Dataclasses as plain dictionaries, for checkpoints and trackers."""
    return {
        f.name: plain(v) if is_dataclass(v) else _plain_value(v)
        for f in fields(config)
        for v in [getattr(config, f.name)]
    }


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): plain(v) if is_dataclass(v) else v for k, v in value.items()}
    return value


def _told(node: Any) -> dict[str, Any]:
    """The node's values that differ from the schema's defaults."""
    told = {}
    for f in fields(node):
        value = getattr(node, f.name)
        if f.name == "_target_" and str(value).startswith(f"{__package__}."):
            continue  # our own functions may move; `name` says which one it is
        if value != _default(type(node), f.name):
            told[f.name] = _told(value) if is_dataclass(value) else value
    return told


def _default(cls: type, name: str) -> Any:
    f = next(f for f in fields(cls) if f.name == name)
    return f.default_factory() if f.default_factory is not REQUIRED else f.default


# --- composing, and errors on one line --------------------------------------------------------


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

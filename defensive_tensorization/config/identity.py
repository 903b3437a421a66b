"""What in a configuration decides a network's weights, and the names that follow from it."""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import MISSING as REQUIRED
from dataclasses import fields, is_dataclass, replace
from typing import Any

from .build import OURS, persons_source
from .network_schema import DefenceConfig, LastConfig, ModelConfig, PrecisionConfig, TuckerConfig
from .randomness import has_random_kernels
from .schema import Config, ParallelConfig

RECIPE = 1  # raise it when the same configuration trains other weights


def base_of(config: Config) -> Config | None:
    """The run that this one's weights start from, or None for one that starts from scratch.

    At theta < 1 it is ours at theta = 1, under ordinary BatchNorm and without another defence, so
    one is shared by all that start from it. Under train.init=dense it is the dense network.
    """
    conv, init = config.defence.conv, config.train.init
    sketched = init == "theta1" and conv is not None and conv.theta < 1
    if not (sketched or (init == "dense" and trained_name(config.defence) == "none")):
        return None
    base = deepcopy(config)
    base.train.init = "theta1" if sketched else "scratch"
    if sketched and conv is not None:
        full = replace(conv, theta=1.0)
        base.defence = DefenceConfig("tensorization", config.defence.batchnorm, full)
        base.theta = 1.0
    base.train.epochs = base.train.init_epochs or base.train.epochs
    base.train.init_epochs = None
    base.train.lr_scale = 1.0
    return base


def surrogate_config(config: Config) -> Config:
    """The same network trained alike without the defence: what a black-box attacker holds."""
    surrogate = deepcopy(config)
    surrogate.defence = DefenceConfig(name="none")
    surrogate.model.batchnorm = DefenceConfig.batchnorm
    surrogate.theta = 1.0
    return surrogate


def needed_by(config: Config) -> list[Config]:
    """What must be trained before this run's network: its base, an attacker's surrogate."""
    base = base_of(config)
    blackbox = any(attack.knowledge == "blackbox" for attack in config.attack.values())
    return [*([base] if base else []), *([surrogate_config(config)] if blackbox else [])]


def trained_name(defence: DefenceConfig) -> str:
    """The defence as the weights know it: some slots join them only afterwards."""
    trains = defence.conv or defence.relu or defence.perturb or defence.beta or defence.last
    return defence.name if trains else "none"


def batchnorm(config: Config) -> Any:
    """BatchNorm's handling; a network without random kernels needs none."""
    return config.model.batchnorm if has_random_kernels(config.defence) else "running"


def train_config_hash(config: Config) -> str:
    """16 hex digits that stand for everything in the configuration that decides the weights."""
    return digest(identity(config), 16)


def identity(config: Config) -> dict[str, Any]:
    """Everything in the configuration that decides the weights.

    Values equal to the schema's default are left out, so a later field whose default means the
    old behaviour leaves old identities alone.
    """
    c = deepcopy(config)
    c.model.batchnorm = (
        "frozen" if batchnorm(c) == "frozen" else "running"
    )  # the others train alike
    c.model.reference = ModelConfig.reference
    c.precision.theta = PrecisionConfig.theta  # the defence's is what counts
    c.defence.batchnorm = DefenceConfig.batchnorm
    c.defence.name = trained_name(c.defence)
    c.defence.input = c.defence.prune = None
    if c.defence.last is not None:
        c.defence.last.rate = LastConfig.rate  # of the deployed network
    if base_of(config) is None:
        c.train.init = "scratch"
        c.train.lr_scale = 1.0
        c.train.init_epochs = None
    if (
        c.defence.conv and c.defence.conv.theta == 1
    ):  # what shapes a sketch has no part in a run without one
        for name in ("modes", "min_dim", "min_keep", "rescale"):
            setattr(c.defence.conv, name, _default(TuckerConfig, name))
    parallel = c.train.parallel
    if not (c.defence.perturb or has_random_kernels(c.defence)):
        parallel.draws = ParallelConfig.draws  # there is nothing to draw
    if parallel == ParallelConfig(processes=parallel.processes):
        parallel.processes = None
    return {
        "dataset": {"name": c.dataset.name, **_source(c.dataset._target_)},
        "model": _told(c.model),
        "precision": _told(c.precision),
        "defence": _told(c.defence),
        "train": _told(c.train),
        "scale": c.scale.name,
        "seed": c.seed,
        **({"version": RECIPE} if RECIPE > 1 else {}),
    }


def run_id(config: Config, fingerprint: str) -> str:
    """Every axis spelled out: cifar10-resnet18-real-theta0.9-seed0-<hash8>."""
    conv = config.defence.conv
    parts = [config.dataset.name, config.model.name, config.precision.name]
    name = trained_name(config.defence)
    if name != "tensorization":
        parts.append("dense" if name == "none" else name)
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
        if f.name == "_target_" and str(value).startswith(f"{OURS}."):
            continue  # our own functions may move; `name` says which one it is
        if value != _default(type(node), f.name):
            told[f.name] = _told(value) if is_dataclass(value) else value
            if f.name == "_target_":
                told |= _source(value)
    return told


def _source(target: Any) -> dict[str, str]:
    """A person's own code decides the weights too: what it was is part of what they are."""
    found = persons_source(target)
    return {} if found is None else {"source": found}


def _default(cls: type, name: str) -> Any:
    f = next(f for f in fields(cls) if f.name == name)
    return f.default_factory() if f.default_factory is not REQUIRED else f.default

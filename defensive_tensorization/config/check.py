"""The rules a composed configuration must keep: a breach is one line with key, value, remedy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from math import isfinite
from operator import attrgetter
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..errors import UsageError
from .attack import (
    check_attack,
    check_control,
    check_draw_per,
    check_held,
    check_knowledge,
    check_readings,
    check_surrogate,
    keep_chosen,
)
from .autocast import resolve
from .defence import check_defence, check_input
from .epsilon import check_epsilons, parse_epsilon
from .flags import at_home, home
from .identity import base_of
from .landscape import check_landscape
from .network_schema import PrecisionConfig, TuckerConfig
from .refuse import usage_error
from .schema import Composed, Config, ParallelConfig, ScaleConfig
from .sections import typed

ConfigStore.instance().store(name="schema", node=Composed)
OmegaConf.register_new_resolver("home", lambda path: home(path, "paths.runs"), replace=True)

_CHOICES = {
    "model.batchnorm": ("running", "frozen", "batch", "recalibrated"),
    "train.init": ("theta1", "dense", "scratch"),
    "train.decay": ("steps", "linear"),
    "train.autocast": ("auto", "float32", "bfloat16"),
    "eval.autocast": ("auto", "float32", "bfloat16"),
    "logger.mode": ("offline", "online", "disabled"),
    "logger.artifacts": ("none", "reference", "upload"),
    "tucker.init": ("hosvd", "random"),
    "experiment.form": ("table", "honest", "surface", "fit"),
    "train.parallel.batchnorm": ("synchronised", "local"),
    "train.parallel.draws": ("shared", "own"),
    "stage": ("all", "bases"),
}
_COMPILE = ("default", "reduce-overhead", "max-autotune")
_PRECISION = {
    "K": (True, False),
    "alpha": (True, False),
    "first": ("real", "binary"),
    "last": ("real", "binary"),
    "shortcut": ("real", "binary"),
    "order": ("norm_sign_conv", "sign_conv_norm"),
}
_RANGES: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    (
        "at least 1",
        lambda value: value >= 1,
        (
            *("model.width", "model.reference", "train.epochs", "train.batch_size"),
            *("train.images", "train.init_epochs", "train.continued_epochs"),
            *("eval.batch_size", "eval.runs", "eval.images"),
            "eval.gradient_images",
            *("eval.draws", "audit.images", "audit.steps", "audit.draws", "audit.restarts"),
            *("audit.queries", "audit.scored", "audit.rounds"),
        ),
    ),
    (
        "a positive number",
        lambda value: value > 0,
        ("train.optimizer.lr", "train.lr_scale", "dataset.level"),
    ),
    ("in (0, 1]", lambda value: 0 < value <= 1, ("train.gamma", "audit.level")),
    (
        "at least 0",
        lambda value: value >= 0,
        ("eval.seed", "seed", "train.crop", "tucker.min_dim", "tucker.min_keep"),
    ),
    ("between 0 and 1", lambda value: 0 <= value <= 1, ("train.warmup",)),
)


def checked(composed: DictConfig, overrides: Sequence[str] = ()) -> Config:
    """The typed configuration, or a UsageError. Merging into the schema again catches `+key=`.

    `overrides`, the words that were asked for, are told where a key is unknown.
    """
    try:
        plain = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True))
        surrogate = plain["attack"].pop("surrogate", None)
        knowledge = plain["attack"].pop("knowledge", None)
        through = plain["attack"].pop("input", None)
        keep_chosen(plain["attack"], overrides)
        config = typed(plain)
    except OmegaConfBaseException as error:
        raise usage_error(error, overrides) from error
    theta = f"{config.theta:g}" if float(f"{config.theta:g}") == config.theta else config.theta
    if not 0 < config.theta <= 1:
        raise UsageError(f"theta must lie in (0, 1], got {theta}: theta=1 keeps everything")
    for key, allowed in _CHOICES.items():
        value = attrgetter(key)(config)
        if value not in allowed:
            raise UsageError(f"{key} must be one of {', '.join(allowed)}, got {value!r}")
    for rule, holds, keys in _RANGES:
        for key in keys:
            value = attrgetter(key)(config)
            if value is not None and not (isfinite(value) and holds(value)):
                raise UsageError(f"{key} must be {rule}, got {value}")
    at_home(config)
    resolve(config)
    _check_parallel(config.train.parallel)
    if config.train.compile not in (None, *_COMPILE):
        raise UsageError(
            f"train.compile must be null, {', '.join(_COMPILE)}, got {config.train.compile!r}"
        )
    _check_tucker(config.tucker)
    _check_precision(config.precision)
    check_surrogate("attack", surrogate, config.precision)
    check_knowledge("attack", knowledge, config.defence)
    check_input("attack.input", through, config.defence)
    check_defence(config)
    _split_epochs(config)
    for name, attack in config.attack.items():
        attack.surrogate = attack.surrogate or surrogate
        check_attack(f"attack.{name}", attack, config.experiment.form)
        check_surrogate(f"attack.{name}", attack.surrogate, config.precision)
        attack.knowledge = attack.knowledge or knowledge
        check_knowledge(f"attack.{name}", attack.knowledge, config.defence)
        check_readings(f"attack.{name}", attack)
        check_input(f"attack.{name}.input", attack.input, config.defence)
        attack.input = attack.input or through
    for share in config.train.milestones:
        if not 0 < share < 1:
            raise UsageError(
                f"train.milestones are shares of the schedule, between 0 and 1, got {share:g}: "
                "write 0.5 for half-way, or [] for a constant rate"
            )
    check_control(config)
    check_held(config)
    check_draw_per(config)
    if config.eval.draws > 255:
        raise UsageError(f"eval.draws must be at most 255, a row's byte, got {config.eval.draws}")
    if config.eval.gradient_images and config.eval.draws < 2:
        raise UsageError(
            f"eval.gradient_images={config.eval.gradient_images} compares the gradients of draws, "
            "got eval.draws=1: take eval.draws=10, or leave it null"
        )
    unit = parse_epsilon(config.dataset.unit, 1.0, key="dataset.unit")
    if unit == 0:
        raise UsageError(f"dataset.unit must be positive, got {config.dataset.unit}: such as 1/255")
    config.dataset.unit = unit
    if config.landscape:
        check_landscape(config.landscape)
        circle = parse_epsilon(config.landscape.circle, unit, key="landscape.circle")
        config.landscape.circle = circle
    audited = config.audit
    audited.epsilon = parse_epsilon(audited.epsilon, unit, key="audit.epsilon")
    if audited.epsilon == 0:
        raise UsageError("audit.epsilon must be positive, got 0: nothing would be attacked")
    if audited.scored > 255:
        raise UsageError(f"audit.scored must be at most 255, got {audited.scored}")
    check_epsilons(config)
    return config


def restored(plain: Mapping[str, Any]) -> Config:
    """The configuration that `plain` made plain, as a checkpoint keeps it; it was checked then.

    An older one lacks later keys of its scale, which had no part in it: they are 0, or empty.
    UsageError for one with keys that are no longer known.
    """
    later = {f.name: f.type() for f in fields(ScaleConfig) if f.type in (int, float, str)}
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Config), {"scale": later}, dict(plain))
        return cast(Config, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise usage_error(error) from error


def _split_epochs(config: Config) -> None:
    """Of a run that starts from another: that one has `epochs`, this one `continued_epochs`."""
    train = config.train
    starts = base_of(config) is not None
    if train.init == "dense" and not starts:
        raise UsageError(
            f"train.init=dense trains the dense network on, defence={config.defence.name} trains "
            "another: take defence=none, or leave train.init out"
        )
    if train.continued_epochs and train.init_epochs is None and starts:
        train.init_epochs, train.epochs = train.epochs, train.continued_epochs
    train.continued_epochs = None


def _check_parallel(parallel: ParallelConfig) -> None:
    """The number of processes is said where the weights depend on it, and only there."""
    same = parallel == ParallelConfig(processes=parallel.processes)
    if same and parallel.processes is not None:
        raise UsageError(
            f"train.parallel.processes={parallel.processes} changes no weights where BatchNorm is "
            "synchronised and draws are shared: leave it null"
        )
    if not same and (parallel.processes or 0) < 2:
        raise UsageError(
            "train.parallel.processes must be at least 2 with batchnorm=local or draws=own, whose "
            f"weights depend on it, got {parallel.processes}"
        )


def _check_tucker(tucker: TuckerConfig) -> None:
    rank, modes = tucker.rank, tucker.modes
    number = isinstance(rank, int | float) and not isinstance(rank, bool) and 0 < rank <= 1
    if rank not in ("full", "same") and not number:
        raise UsageError(f"tucker.rank must be full, same or a fraction in (0, 1], got {rank!r}")
    if modes is not None and not (isinstance(modes, list) and all(m in range(5) for m in modes)):
        raise UsageError(
            f"tucker.modes must list modes of the core (0 filters, 1 channels, 2... window), "
            f"got {modes}"
        )


def _check_precision(precision: PrecisionConfig) -> None:
    binary = precision._target_ is not None
    for name, allowed in _PRECISION.items():
        value = getattr(precision, name)
        if not binary and value is not None:
            raise UsageError(
                f"precision.{name} has no meaning for real weights: take precision=xnor"
            )
        if binary and value not in allowed:
            choices = ", ".join(str(each).lower() for each in allowed)
            raise UsageError(f"precision.{name} must be one of {choices}, got {value!r}")

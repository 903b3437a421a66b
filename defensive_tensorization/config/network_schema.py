"""The typed configuration of a network: its layers, its precision, and its defence.

`options` are the parameters of a part from outside the package: docs/extending.md.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class ModelConfig:
    _target_: str = MISSING
    name: str = MISSING
    width: int = MISSING
    batchnorm: str = "running"
    reference: int = 128
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class PrecisionConfig:
    """Real weights have none of the knobs, binary ones all; `theta` where none is given."""

    name: str = MISSING
    theta: float = 0.9
    _target_: str | None = None
    K: bool | None = None
    alpha: bool | None = None
    first: str | None = None
    last: str | None = None
    shortcut: str | None = None
    order: str | None = None


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
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class ReluConfig:
    _target_: str = MISSING
    bits: int | None = None
    clip: float | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class InputConfig:
    _target_: str = MISSING
    bits: int | None = None
    median: bool | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class PruneConfig:
    _target_: str = MISSING
    fraction: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class LastConfig:
    _target_: str = MISSING
    rate: float = 0.0
    train_rate: float = 0.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class PerturbConfig:
    """Sizes in levels; what an attack does not take is None."""

    _target_: str = MISSING
    name: str = MISSING
    level: float = 1
    sigma: float | None = None
    largest: float | None = None
    epsilon: float | None = None
    alpha: float | None = None
    step_size: float | None = None
    steps_round: str | None = None
    random_start: bool | None = None
    draws: str = "fresh"
    update: str = "fresh"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class DefenceConfig:
    """Optional slots: layer factories (conv, relu, last), a training attack, and what joins a
    trained network: a transform of the input, pruning of activations.

    beta  of the orthogonality term that joins the loss.
    """

    name: str = MISSING
    batchnorm: str = "running"
    conv: ConvConfig | None = None
    relu: ReluConfig | None = None
    beta: float = 0.0
    input: InputConfig | None = None
    perturb: PerturbConfig | None = None
    prune: PruneConfig | None = None
    last: LastConfig | None = None

"""The typed configuration: every key there is. Values come from configs/*.yaml.

`options` are the parameters of a part from outside the package: docs/extending.md.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from .network_schema import DefenceConfig, ModelConfig, PrecisionConfig, TuckerConfig


@dataclass
class DatasetConfig:
    _target_: str = MISSING
    name: str = MISSING
    unit: Any = MISSING
    source: str | None = None
    root: str | None = None
    download: bool | None = None
    cache: str | None = None
    split: str | None = None
    smoke_images: int | None = None  # training examples at scale=smoke; null: all
    level: float | None = 1  # one level of the data in its unit: the step of the iterated attacks
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class OptimizerConfig:
    _target_: str = MISSING
    lr: float = MISSING
    momentum: float | None = None
    weight_decay: float | None = None


@dataclass
class ParallelConfig:
    """Of one training by several processes; one process makes the same weights at the defaults."""

    batchnorm: str = "synchronised"
    draws: str = "shared"
    processes: int | None = None


@dataclass
class TrainConfig:
    name: str = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    milestones: list[float] = MISSING
    gamma: float = MISSING
    warmup: float = 0.0
    decay: str = "steps"
    init: str = MISSING
    init_epochs: int | None = None
    continued_epochs: int | None = None
    lr_scale: float = 1.0
    crop: int = 0
    autocast: str = "float32"
    images: int | None = None
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    compile: str | None = None


@dataclass
class BinaryConfig:
    """Of binary ResNet-18, where a scale departs from what is printed."""

    K: bool = True
    shortcut: str = "binary"
    optimizer: OptimizerConfig | None = None


@dataclass
class ScaleConfig:
    name: str = MISSING
    width: int = MISSING
    epochs: int = MISSING
    continued_epochs: int | None = None
    audio_epochs: int = MISSING
    adversarial_epochs: int = MISSING
    budget_epochs: int = MISSING
    weight_decay: float = MISSING
    crop: int = MISSING
    warmup: float = MISSING
    decay: str = MISSING
    binary: BinaryConfig = field(default_factory=BinaryConfig)
    figure_images: int | None = None
    evidence_images: int | None = None
    honest_images: int = MISSING
    landscape_points: int = MISSING
    autocast: str = MISSING
    train_images: int | None = None
    eval_images: int | None = None
    eval_runs: int = MISSING


@dataclass
class AttackConfig:
    _target_: str = MISSING
    epsilon: Any = MISSING
    step_size: Any = None
    steps: Any = None
    steps_round: str | None = None
    surrogate: str | None = None
    knowledge: str | None = None
    loss: str | None = None
    draws: Any = None
    average: str | None = None
    restarts: int | None = None
    keep: str | None = None
    p: float | None = None
    version: str | None = None
    input: str | None = None
    level: Any = None
    sizes: Any = None
    binary_search: Any = None
    not_found: str | None = None
    draw_per: str | None = None
    runs: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class EvalConfig:
    epsilon: Any = MISSING
    images: int | None = None
    runs: int = MISSING
    seed: int = 0
    draws: int = 1
    sketch: bool = True
    gradient_images: int | None = None
    batch_size: int = MISSING
    autocast: str = "float32"


@dataclass
class LandscapeConfig:
    """The plane through an image on which the loss is drawn."""

    image: int = MISSING
    extent: float = MISSING
    points: int = MISSING
    draws: int = MISSING
    direction: str = MISSING
    directions: str = MISSING
    circle: Any = MISSING


@dataclass
class AuditConfig:
    """The budget of an audit, the robust accuracy that is claimed (None: none), and how many
    audits in a row may follow their own advice."""

    epsilon: Any = 8
    images: int = 100
    steps: int = 20
    draws: int = 10
    restarts: int = 1
    queries: int = 100
    scored: int = 30
    level: float | None = None
    rounds: int = 1


@dataclass
class LoggerConfig:
    mode: str = MISSING
    project: str = MISSING
    artifacts: str = "reference"


@dataclass
class PathsConfig:
    runs: str = MISSING
    results: str = MISSING


@dataclass
class ExperimentConfig:
    """What a table is: its methods (columns, by label) and where it is published.

    form      table, honest, surface or fit: how its rows are shown.
    surface   of an honest table: the experiment whose rows say whether its attacks converged.
    outside   of an honest table: the experiment whose attacks, of others' code, are among its own
              where they were run.
    controls  of an honest table: each randomized method's deterministic one.
    averaged  the honest table whose attacks average over draws: a table's last column.
    drawn     the method that a picture shows under PGD, stopped, whole and averaged.
    """

    name: str = "adhoc"
    title: str = ""
    form: str = "table"
    surface: str | None = None
    outside: str | None = None
    averaged: str | None = None
    drawn: str | None = None
    controls: dict[str, str] = field(default_factory=dict)
    published: str | None = None
    published_as: dict[str, str] = field(default_factory=dict)  # methods named otherwise there
    published_only: dict[str, str] = field(default_factory=dict)  # which lines of that file
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
    landscape: LandscapeConfig | None = None
    logger: LoggerConfig = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    theta: float = MISSING
    seed: int = MISSING
    device: str = MISSING
    stage: str = "all"
    networks: str = "released"
    autocast_auto: list[str] = field(default_factory=list)  # sections where autocast was auto


@dataclass
class Composed(Config):
    """What Hydra composes: beside the attacks, `attack` holds what is said of all of them."""

    attack: dict[str, Any] = field(default_factory=dict)

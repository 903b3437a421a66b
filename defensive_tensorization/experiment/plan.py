"""From the configuration to the things it describes: data, network, schedule, attacks, names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from .. import config as cfg
from ..attacks import Attack
from ..config import Config
from ..config.schema import AttackConfig
from ..data import Task, decode
from ..defences.quantization import orthogonality
from ..errors import UsageError
from ..models import REAL, Precision
from ..models.batchnorm import DrawBatchNorm1d, DrawBatchNorm2d, Recalibrated
from ..models.precision import Order, Place
from ..sketching import stream
from ..training.distributed import Team
from ..training.loop import Perturb
from ..training.schedule import Schedule
from ..xnor import XnorConv2d
from .evaluate import Classifier

MODELS = {"images": "take model=resnet18", "clips": "take model=soundnet5 or model=logmel"}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
NORMS = {1: DrawBatchNorm1d, 2: DrawBatchNorm2d}


@dataclass(frozen=True)
class Plan:
    """One run: a configuration and its data, with everything that follows from the two."""

    config: Config
    task: Task

    @cached_property
    def weights_id(self) -> str:
        """Identity of the trained weights: their recipe and the content of the data."""
        return cfg.digest([cfg.train_config_hash(self.config), self.task.digest], 16)

    @property
    def name(self) -> str:
        return cfg.run_id(self.config, self.weights_id)

    @property
    def checkpoint(self) -> Path:
        return Path(self.config.paths.runs) / "checkpoints" / f"{self.name}.pt"

    @property
    def rows(self) -> Path:
        return Path(self.config.paths.runs) / "rows" / f"{self.name}.jsonl"

    @property
    def base(self) -> "Plan | None":
        """The run whose weights this one starts from."""
        base = cfg.base_of(self.config)
        return None if base is None else replace(self, config=base)

    @property
    def needed(self) -> "list[Plan]":
        """The runs whose networks must be there before this one's."""
        return [replace(self, config=each) for each in cfg.needed_by(self.config)]

    @property
    def surrogate_plan(self) -> "Plan":
        """The dense network that a black-box attacker holds."""
        return replace(self, config=cfg.surrogate_config(self.config))

    def network(self) -> nn.Module:
        """The network with its initial weights, on the task's device."""
        c = self.config
        d = getattr(cfg.named(c.model._target_), "dimensions", 2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(c.seed, "init"))
            network: nn.Module = cfg.construct(
                c.model._target_,
                width=c.model.width,
                classes=len(self.task.classes),
                mean=self.task.mean,
                std=self.task.std,
                conv=CONVOLUTIONS[d]
                if c.defence.conv is None
                else cfg.build(c.defence.conv, dimensions=d),
                norm=lambda channels: NORMS[d](channels, cfg.batchnorm(self.config)),
                precision=precision(c),
                **({} if c.defence.relu is None else {"relu": partial(cfg.build, c.defence.relu)}),
                **({} if c.defence.last is None else {"last": cfg.build(c.defence.last)}),
            )
        return channels_last(network).to(self.task.train.inputs.device)

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        t = self.config.train
        scale = t.lr_scale if self.base else 1.0
        made: torch.optim.Optimizer = cfg.build(
            replace(t.optimizer, lr=t.optimizer.lr * scale), params=list(network.parameters())
        )
        return made

    @property
    def schedule(self) -> Schedule:
        t = self.config.train
        values = {f.name: getattr(t, f.name) for f in fields(Schedule)}
        return Schedule(**values | {"milestones": tuple(t.milestones)})

    @property
    def team(self) -> Team:
        """The processes that train it; UsageError where they are not as many as it says."""
        parallel = self.config.train.parallel
        return Team(**{f.name: getattr(parallel, f.name) for f in fields(Team)})

    def deployed(self, network: nn.Module) -> nn.Module:
        """The network with its pruning, and what its BatchNorm needs in evaluation mode."""
        if self.config.defence.prune is not None:
            network = cfg.build(self.config.defence.prune, network=network)
        if cfg.batchnorm(self.config) != "recalibrated":
            return network
        reference = self.task.train.head(self.config.model.reference)
        return Recalibrated(network, decode(reference.inputs))

    def classifier(self, network: nn.Module) -> Classifier:
        """The network as it is deployed: what attackers and scorers get."""
        c = self.config
        transform = None if c.defence.input is None else cfg.build(c.defence.input)
        return Classifier(self.deployed(network), c.eval.autocast, transform)

    def perturb(self, network: nn.Module) -> Perturb | None:
        """The attack of its training, which meets it as attackers will."""
        node = self.config.defence.perturb
        if node is None:
            return None
        training = cfg.build(replace(node, name=None), unit=self.config.dataset.unit)  # type: ignore[arg-type]
        return partial(training.batch, network, self.deployed(network), self.task.bounds)

    @property
    def penalty(self) -> Callable[[nn.Module], Tensor] | None:
        beta = self.config.defence.beta
        return (lambda network: beta * orthogonality(network)) if beta else None


def channels_last(network: nn.Module) -> nn.Module:
    """Its 2-D kernels, in place, as convolutions of channels-last images want them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | XnorConv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def plan(config: Config) -> Plan:
    """Load the data onto the device and lay out the run."""
    reads = getattr(cfg.named(config.model._target_), "reads", None)
    if reads not in (None, "images") and config.defence.input is not None:
        raise UsageError(
            f"defence={config.defence.name} squeezes the colours of images, model="
            f"{config.model.name} reads {reads}: take another defence"
        )
    task: Task = cfg.build(replace(config.dataset, level=None))
    if reads not in (None, task.kind):
        raise UsageError(
            f"model={config.model.name} reads {reads}, dataset={config.dataset.name} holds "
            f"{task.kind}: {MODELS[task.kind]}"
        )
    laid = Plan(config, task.to(device(config.device)))
    # what cannot be is refused before hours of training
    laid.task.test.part(config.eval.images, "eval.images")
    attacks(config)
    if not config.model.reference <= len(task.train):
        raise UsageError(
            f"model.reference must be at most {len(task.train)}, the training images, "
            f"got {config.model.reference}"
        )
    return _begun(laid)


def _begun(p: Plan) -> Plan:
    """The plan in the precision in which its training was begun, where autocast=auto leaves it."""
    if "train" in p.config.autocast_auto and not p.checkpoint.exists():
        other = replace(p, config=cfg.others(p.config)[0])
        if other.checkpoint.exists():
            return other
    return p


def attacks(config: Config) -> list[Attack]:
    """Every attack at every epsilon and, on a surface, of every number of draws and steps.

    They go by their keys; where one is no name of its algorithm, `options` say that. Where nothing
    is random one number of draws stands for all.
    """
    random = cfg.is_random(config)

    def each(value: Any) -> list[Any]:
        return value if isinstance(value, list) else [value]

    def built(key: str, node: AttackConfig, **at: Any) -> Attack:
        bare = replace(node, **at, surrogate=None, knowledge=None, input=None)
        attack: Attack = cfg.build(bare, unit=config.dataset.unit)
        own = () if attack.name == key else (("algorithm", attack.name),)
        return replace(
            attack,
            name=key,
            options=(*own, *attack.options),
            surrogate=node.surrogate or "identity",
            knowledge=node.knowledge or "fresh",
            input=node.input or "through",
        )

    return [
        built(key, node, epsilon=epsilon, draws=draws, steps=steps)
        for key, node in config.attack.items()
        for epsilon in node.epsilon
        for draws in each(node.draws)[: None if random else 1]
        for steps in each(node.steps)
    ]


def precision(config: Config) -> Precision:
    """Which of a network's layers are binary, and the order in a block."""
    p = config.precision
    if p._target_ is None:
        return REAL
    layer = partial(cfg.construct, p._target_, K=p.K, alpha=p.alpha)
    at: dict[Place, str | None] = {
        "inner": "binary",
        "first": p.first,
        "shortcut": p.shortcut,
        "last": p.last,
    }
    return Precision(
        binary=lambda real: layer(layer=real),
        places=frozenset(place for place, kind in at.items() if kind == "binary"),
        order=cast(Order, p.order),
    )


def device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name)
    except (RuntimeError, ValueError):
        raise UsageError(f"device must be auto, cpu or cuda, got {name!r}") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device={name} but torch sees no GPU: take device=cpu or device=auto")
    try:
        torch.ones(1, device=chosen).item()
    except Exception as error:  # each backend has a refusal of its own
        first = str(error).strip().split("\n")[0].split(". ")[0]
        reason = first.rstrip(".") or type(error).__name__
        raise UsageError(
            f"device={name} cannot be used ({reason[:120]}): take device=cpu or device=auto"
        ) from None
    return chosen


def seeds(config: Config) -> Sequence[int]:
    return range(config.eval.seed, config.eval.seed + config.eval.runs)

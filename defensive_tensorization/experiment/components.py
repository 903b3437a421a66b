"""From a plan to what it is made of: network, optimizer, training attack, deployed classifier."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from .. import config as cfg
from ..config import Config
from ..data import decode
from ..defences.quantization import orthogonality
from ..models import REAL, Precision
from ..models.batchnorm import DrawBatchNorm1d, DrawBatchNorm2d, Recalibrated
from ..models.precision import Order, Place
from ..released.architecture import channels_last
from ..sketching import stream
from ..training.distributed import Team
from ..training.loop import Perturb
from ..training.optimizer import untraced
from ..training.schedule import Schedule
from .classifier import Classifier
from .plan import Plan

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
NORMS = {1: DrawBatchNorm1d, 2: DrawBatchNorm2d}


def network(p: Plan) -> nn.Module:
    """The network with its initial weights, on the task's device."""
    c = p.config
    d = getattr(cfg.named(c.model._target_), "dimensions", 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(c.seed, "init"))
        network: nn.Module = cfg.construct(
            c.model._target_,
            width=c.model.width,
            classes=len(p.task.classes),
            mean=p.task.mean,
            std=p.task.std,
            conv=CONVOLUTIONS[d]
            if c.defence.conv is None
            else cfg.build(c.defence.conv, dimensions=d),
            norm=lambda channels: NORMS[d](channels, cfg.batchnorm(p.config)),
            precision=precision(c),
            **({} if c.defence.relu is None else {"relu": partial(cfg.build, c.defence.relu)}),
            **c.model.options,
            **({} if c.defence.last is None else {"last": cfg.build(c.defence.last)}),
        )
    return channels_last(network).to(p.task.train.inputs.device)


def optimizer(p: Plan, network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of the network's training; of a run that starts from another, rescaled."""
    t = p.config.train
    scale = t.lr_scale if p.base else 1.0
    made: torch.optim.Optimizer = cfg.build(
        replace(t.optimizer, lr=t.optimizer.lr * scale),
        through=untraced,
        params=list(network.parameters()),
    )
    return made


def schedule(p: Plan) -> Schedule:
    """Epochs, batches and learning rates of the training."""
    t = p.config.train
    values = {f.name: getattr(t, f.name) for f in fields(Schedule)}
    return Schedule(**values | {"milestones": tuple(t.milestones)})


def team(p: Plan) -> Team:
    """The processes that train it; UsageError where they are not as many as it says."""
    parallel = p.config.train.parallel
    return Team(**{f.name: getattr(parallel, f.name) for f in fields(Team)})


def deployed(p: Plan, network: nn.Module) -> nn.Module:
    """The network with its pruning, and what its BatchNorm needs in evaluation mode."""
    if p.config.defence.prune is not None:
        network = cfg.build(p.config.defence.prune, network=network)
    if cfg.batchnorm(p.config) != "recalibrated":
        return network
    reference = p.task.train.head(p.config.model.reference)
    return Recalibrated(network, decode(reference.inputs))


def classifier(p: Plan, network: nn.Module) -> Classifier:
    """The network as it is deployed: what attackers and scorers get."""
    c = p.config
    transform = None if c.defence.input is None else cfg.build(c.defence.input, at="defence.input")
    made = Classifier(deployed(p, network), c.eval.autocast, transform)
    made.draws = cfg.draws_outside(c.defence)
    return made


def perturb(p: Plan, network: nn.Module) -> Perturb | None:
    """The attack of its training, which meets it as attackers will."""
    node = p.config.defence.perturb
    if node is None:
        return None
    training = cfg.build(replace(node, name=None), unit=p.config.dataset.unit)  # type: ignore[arg-type]
    return partial(training.batch, network, deployed(p, network), p.task.bounds)


def penalty(p: Plan) -> Callable[[nn.Module], Tensor] | None:
    """What joins the training's loss: beta times the orthogonality of the weights."""
    beta = p.config.defence.beta
    return (lambda network: beta * orthogonality(network)) if beta else None


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

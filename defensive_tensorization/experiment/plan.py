"""From the configuration to a run: its data, the names and paths of what it makes, its attacks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from .. import config as cfg
from ..attacks import Attack
from ..config import Config
from ..config.schema import AttackConfig
from ..data import Task
from ..errors import UsageError

MODELS = {"images": "take model=resnet18", "clips": "take model=soundnet5 or model=logmel"}


@dataclass(frozen=True)
class Plan:
    """One run: a configuration and its data, with the names and paths that follow from the two."""

    config: Config
    task: Task

    @cached_property
    def weights_id(self) -> str:
        """Identity of the trained weights: their recipe and the content of the data.

        With networks=any, those of the released network, which may be of other data than `task`.
        """
        from .released_networks import of_other_data

        if (entry := of_other_data(self.config)) is not None and not self._own.exists():
            return entry.weights_id
        return self._own_id

    @property
    def _own_id(self) -> str:
        return cfg.digest([cfg.train_config_hash(self.config), self.task.digest], 16)

    @property
    def _own(self) -> Path:
        """The checkpoint of a training on this data."""
        name = cfg.run_id(self.config, self._own_id)
        return Path(self.config.paths.runs) / "checkpoints" / f"{name}.pt"

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


def plan(config: Config) -> Plan:
    """Load the data onto the device and lay out the run."""
    reads = getattr(cfg.named(config.model._target_), "reads", None)
    if (
        reads not in (None, "images")
        and config.defence.input
        and not cfg.is_outside(config.defence.input)
    ):
        raise UsageError(
            f"defence={config.defence.name} squeezes the colours of images, model="
            f"{config.model.name} reads {reads}: take another defence"
        )
    task: Task = cfg.build(replace(config.dataset, level=None, smoke_images=None), at="dataset")
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
    """The plan in the precision in which its training was begun or its network released.

    Where autocast=auto leaves it.
    """
    from .released_networks import there

    if "train" in p.config.autocast_auto and not there(p):
        other = replace(p, config=cfg.others(p.config)[0])
        if there(other):
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
        bare = replace(node, **at, surrogate=None, knowledge=None, input=None, runs=None)
        attack: Attack = cfg.build(bare, at=f"attack.{key}", unit=config.dataset.unit)
        own = () if attack.name == key else (("algorithm", attack.name),)
        return replace(
            attack,
            name=key,
            options=(*own, *attack.options, *cfg.as_words(node.options, f"attack.{key}")),
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


def seeds(config: Config, attack: Attack | None = None) -> Sequence[int]:
    """Those of an evaluation, or the first of them that one of its attacks runs under."""
    most = config.attack[attack.name].runs if attack else None
    runs = config.eval.runs if most is None else min(most, config.eval.runs)
    return range(config.eval.seed, config.eval.seed + runs)

"""What a plan's network is built from, as released networks say it: no Hydra, no names of code."""

from typing import Any

from .. import config as cfg
from ..errors import UsageError
from ..released.architecture import MODELS, Architecture
from .plan import Plan


def architecture(p: Plan) -> Architecture:
    """Of the trained network alone: slots that join it after training stay empty.

    Raises:
        UsageError: for a model, layer or defence from outside the package.
    """
    c = p.config
    targets = {"model": c.model._target_, "precision": c.precision._target_}
    slots = {name: getattr(c.defence, name) for name in ("conv", "relu", "last")}
    targets |= {name: slot and slot._target_ for name, slot in slots.items()}
    for key, target in targets.items():
        if target and not target.startswith(f"{cfg.OURS}."):
            raise UsageError(f"{key} is {target}: only the package's own parts can be released")
    model = c.model._target_.rpartition(".")[2]
    if model not in MODELS:
        raise UsageError(f"model {model} cannot be released, only {', '.join(MODELS)}")
    return Architecture(
        model=model,
        width=c.model.width,
        classes=tuple(p.task.classes),
        mean=tuple(p.task.mean),
        std=tuple(p.task.std),
        batchnorm=cfg.batchnorm(c),
        precision=_precision(p),
        **{name: slot and cfg.arguments(slot) for name, slot in slots.items()},
    )


def _precision(p: Plan) -> dict[str, Any] | None:
    precision = p.config.precision
    if precision._target_ is None:
        return None
    names = ("K", "alpha", "first", "shortcut", "last", "order")
    return {name: getattr(precision, name) for name in names}

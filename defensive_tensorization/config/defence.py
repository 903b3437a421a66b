"""The rules of a defence's slots, and the combinations that make no sense."""

from collections.abc import Callable
from math import isfinite

from ..errors import UsageError
from .network_schema import DefenceConfig
from .randomness import has_random_kernels
from .schema import Config

Rule = tuple[str, Callable[[float], bool]]
_POSITIVE: Rule = ("a positive number", lambda value: isfinite(value) and value > 0)
_SLOTS: dict[str, dict[str, Rule]] = {
    "relu": {"bits": ("between 1 and 16", lambda value: 1 <= value <= 16), "clip": _POSITIVE},
    "input": {"bits": ("between 1 and 8", lambda value: 1 <= value <= 8)},
    "prune": {"fraction": _POSITIVE},
    "last": dict.fromkeys(("rate", "train_rate"), ("in [0, 1)", lambda value: 0 <= value < 1)),
    "perturb": dict.fromkeys(("level", "sigma", "largest", "epsilon", "step_size"), _POSITIVE),
}
_WORDS = {
    "draws": ("fresh", "frozen"),
    "update": ("fresh", "attack"),
    "steps_round": ("floor", "nearest", "ceil"),
}


def check_input(key: str, value: str | None, defence: DefenceConfig) -> None:
    """How an attack takes a transform of the input."""
    if value not in (None, "through", "oblivious"):
        raise UsageError(f"{key} must be one of through, oblivious, got {value!r}")
    if value == "oblivious" and defence.input is None:
        raise UsageError(
            f"{key}=oblivious needs a transform of the input to be oblivious of: "
            "take defence=squeezing"
        )


def check_defence(config: Config) -> None:
    defence = config.defence
    for slot, rules in _SLOTS.items():
        for name, (rule, holds) in rules.items():
            value = getattr(getattr(defence, slot), name, None)
            if value is not None and not holds(value):
                raise UsageError(f"defence.{slot}.{name} must be {rule}, got {value}")
    if not (isfinite(defence.beta) and defence.beta >= 0):
        raise UsageError(f"defence.beta must be at least 0, got {defence.beta}")
    if config.precision._target_ is not None and (defence.relu or defence.beta):
        raise UsageError(
            f"defence={defence.name} quantizes real activations, those of binary layers are one "
            "bit each: take precision=real"
        )
    if config.precision._target_ is not None and defence.prune:
        raise UsageError(
            f"defence={defence.name} prunes behind ReLUs, binary layers have a sign in their "
            "place: take precision=real"
        )
    if config.precision.last == "binary" and defence.last:
        raise UsageError(
            f"defence={defence.name} drops inputs of a real last layer: take precision.last=real"
        )
    if defence.beta and defence.conv:
        raise UsageError(
            "defence.beta is for dense kernels, a factorized one exists in the forward alone: "
            "take defence.beta=0"
        )
    _check_perturb(defence)


def _check_perturb(defence: DefenceConfig) -> None:
    perturb = defence.perturb
    if perturb is None:
        return
    for name, allowed in _WORDS.items():
        value = getattr(perturb, name)
        if value not in (None, *allowed):
            words = ", ".join(allowed)
            raise UsageError(f"defence.perturb.{name} must be one of {words}, got {value!r}")
    random = has_random_kernels(defence)
    for name, plain in (("draws", "fresh"), ("update", "fresh")):
        if getattr(perturb, name) != plain and not random:
            raise UsageError(
                f"defence.perturb.{name}={getattr(perturb, name)} is of a random network's draws, "
                f"defence={defence.name} has none in training: leave it out"
            )
    if perturb.update == "attack" and perturb.draws != "frozen":
        raise UsageError(
            "defence.perturb.update=attack needs one draw to update on: take "
            "defence.perturb.draws=frozen"
        )
    alpha, epsilon = perturb.alpha, perturb.epsilon
    if alpha is not None and epsilon is not None and not 0 <= alpha <= epsilon:
        raise UsageError(
            f"defence.perturb.alpha must lie between 0 and epsilon={epsilon:g}, got {alpha:g}"
        )

"""The rules of attacks: what they are, what they know, and which networks they suit."""

from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from .identity import batchnorm
from .network_schema import DefenceConfig, PrecisionConfig
from .randomness import has_random_kernels
from .refuse import options
from .schema import AttackConfig, Config
from .unknown import not_selected

_SURROGATES = ("identity", "tanh", "tanh075")
_KNOWLEDGE = ("fresh", "frozen", "transfer", "omniscient", "blackbox")
_READINGS = {  # of the attacks as Foolbox 1.8 ran them
    "binary_search": ("off", "on", "within"),
    "not_found": ("clean", "correct"),
    "draw_per": ("batch", "image"),
}
_SIZES = ("listed", "single")


def keep_chosen(attacks: dict[str, Any], overrides: Sequence[str]) -> None:
    """Drop what an experiment's file sets of attacks that attack=[...] leaves out; refuse others.

    What Hydra composes holds attacks untyped, and without `_target_` where none was chosen.
    """
    for name, node in list(attacks.items()):
        if isinstance(node, dict) and "_target_" not in node:
            typed = [word for word in overrides if word.lstrip("+").startswith(f"attack.{name}.")]
            chosen = [each for each, other in attacks.items() if "_target_" in (other or ())]
            unselected = not_selected(name, chosen, (typed or [f"attack.{name}"])[0])
            if not typed and unselected:
                del attacks[name]
                continue
            raise UsageError(
                unselected
                or f"attack.{name} is no attack: choose with attack=[fgsm,pgd] among "
                f"{options('attack')}"
            )


def check_attack(key: str, attack: AttackConfig, form: str) -> None:
    for name in ("steps", "draws"):
        value = getattr(attack, name)
        for count in (value or [0]) if isinstance(value, list) else [value]:
            if count is not None and not (type(count) is int and count >= 1):
                raise UsageError(f"{key}.{name} must be a whole number, at least 1, got {value}")
        if isinstance(value, list) and form != "surface":
            raise UsageError(
                f"{key}.{name}={value}: only a surface (experiment.form=surface) holds several; "
                "sweep over them, -m, or take one"
            )
        if isinstance(value, list):
            setattr(attack, name, sorted(set(value)))
    if attack.runs is not None and attack.runs < 1:
        raise UsageError(f"{key}.runs must be at least 1, got {attack.runs}")
    size = attack.step_size
    if size is not None and not (isinstance(size, int | float) and size > 0):
        raise UsageError(f"{key}.step_size must be positive, in the data's unit, got {size}")
    if attack.steps_round not in (None, "floor", "nearest", "ceil"):
        raise UsageError(
            f"{key}.steps_round must be one of floor, nearest, ceil, got {attack.steps_round!r}"
        )


def check_readings(key: str, attack: AttackConfig) -> None:
    """What Foolbox 1.8's users could choose, of the attacks that have it; off and on are YAML's."""
    if isinstance(attack.binary_search, bool):
        attack.binary_search = "on" if attack.binary_search else "off"
    stops = attack._target_.rpartition(".")[2].startswith("foolbox1_")
    single = attack._target_.endswith("_fgsm")
    for name in ("sizes", *_READINGS):
        if getattr(attack, name) is None:
            continue
        if not stops or (name == "binary_search" and single) or (name == "sizes" and not single):
            owner = {"binary_search": "foolbox1_bim or foolbox1_pgd", "sizes": "foolbox1_fgsm"}
            raise UsageError(
                f"{key} has no {name}: leave {key}.{name} out, or take "
                f"{owner.get(name, 'foolbox1_fgsm, foolbox1_bim or foolbox1_pgd')}"
            )
        value = getattr(attack, name)
        if name == "sizes" and not (value in _SIZES or (type(value) is int and value >= 1)):
            raise UsageError(
                f"{key}.sizes must be a whole number, at least 1, {' or '.join(_SIZES)}, "
                f"got {value!r}"
            )
        if name != "sizes" and value not in _READINGS[name]:
            raise UsageError(
                f"{key}.{name} must be one of {', '.join(_READINGS[name])}, got {value!r}"
            )
    if stops and attack.knowledge in ("frozen", "transfer"):
        raise UsageError(
            f"{key}.knowledge={attack.knowledge} holds one draw, {key} meets a draw of its own at "
            "every forward: take knowledge=fresh, omniscient or blackbox"
        )


def check_surrogate(key: str, value: str | None, precision: PrecisionConfig) -> None:
    if value not in (None, *_SURROGATES):
        raise UsageError(f"{key}.surrogate must be one of {', '.join(_SURROGATES)}, got {value!r}")
    if value not in (None, "identity") and precision._target_ is None:
        raise UsageError(f"{key}.surrogate={value} needs a sgn to stand for: take precision=xnor")


def check_knowledge(key: str, value: str | None, defence: DefenceConfig) -> None:
    if value not in (None, *_KNOWLEDGE):
        raise UsageError(f"{key}.knowledge must be one of {', '.join(_KNOWLEDGE)}, got {value!r}")
    if value == "blackbox" and defence.name == "none":
        raise UsageError(
            f"{key}.knowledge=blackbox needs a defence: the dense network is its own surrogate"
        )


def check_held(config: Config) -> None:
    """A draw that the attacker holds is the one that scores."""
    for name, attack in config.attack.items():
        if attack.knowledge == "frozen" and config.eval.draws > 1:
            raise UsageError(
                f"attack.{name}.knowledge=frozen is scored on the one draw that it holds, got "
                f"eval.draws={config.eval.draws}: take eval.draws=1 and "
                f"eval.runs={config.eval.draws}, each with a draw of its own"
            )


def check_draw_per(config: Config) -> None:
    """A draw for each image, where BatchNorm's statistics are one draw's."""
    handling = batchnorm(config)
    for name, attack in config.attack.items():
        if attack.draw_per != "image":
            continue
        if handling in ("recalibrated", "batch") and config.eval.sketch:
            raise UsageError(
                f"attack.{name}.draw_per=image: with model.batchnorm={handling} the images of a "
                "batch have one draw: take draw_per=batch, or model.batchnorm=running"
            )
        if attack.knowledge in ("omniscient", "blackbox"):
            raise UsageError(
                f"attack.{name}.draw_per=image: an attacker with knowledge={attack.knowledge} "
                "meets no draws: take draw_per=batch"
            )


def check_control(config: Config) -> None:
    """eval.sketch=false: the same network at theta = 1."""
    if config.eval.sketch:
        return
    if not has_random_kernels(config.defence):
        raise UsageError(
            "eval.sketch=false is the control of a randomized network, this one has no sketch: "
            "leave it out, or take defence=tensorization and theta < 1"
        )
    for name, attack in config.attack.items():
        if attack.knowledge not in (None, "fresh", "omniscient"):
            raise UsageError(
                f"eval.sketch=false leaves no draws to know of, got attack.{name}.knowledge="
                f"{attack.knowledge}: take knowledge=fresh"
            )

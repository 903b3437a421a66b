"""What a person may have meant by a key that is not there."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf

from .files import CONFIGS, shown
from .outside import PACKAGE
from .schema import AttackConfig, Config

_FOR_ALL = ("surrogate", "knowledge", "input")  # keys of one attack, and of `attack` itself


@dataclass(frozen=True)
class Unknown:
    """An unknown key as it was asked for.

    asked   the whole word, "attack.fgsm.steps=3".
    values  what the node around the key holds.
    """

    key: str
    asked: str
    values: Mapping[str, Any]

    @property
    def parent(self) -> str:
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        return self.key.rpartition(".")[2]

    @property
    def outside(self) -> bool:
        """Whether the node is of a person's own code."""
        target = str(self.values.get("_target_") or "???")
        return target != "???" and not target.startswith(f"{PACKAGE}.")


def unknown(key: str, overrides: Sequence[str], node: Any) -> str:
    """Return the line for an unknown key: what was asked for, and what to write instead.

    Args:
        key: the key that is not there, which may be the parent of the one that was asked for.
        overrides: the words of the command line.
        node: the configuration around the key; None where it is not known.
    """
    words = [o for o in overrides if f"{o.lstrip('+').partition('=')[0]}.".startswith(f"{key}.")]
    asked = next((o for o in words if o.lstrip("+").partition("=")[0] == key), (words or [key])[0])
    it = Unknown(key, asked, _values(node))
    if it.parent == "attack":
        chosen = [name for name, value in it.values.items() if isinstance(value, Mapping)]
        return not_selected(it.name, chosen, asked) or _nearest(it, _attacks())
    if it.parent.startswith("attack.") and not it.outside:
        return _of_our_attack(it)
    return _nearest(it, tuple(_keys_below(it.parent)))


def not_selected(name: str, chosen: Sequence[str], asked: str) -> str | None:
    """Return the line for an attack that there is, and that nobody chose; None for another."""
    if name in chosen or not (CONFIGS / "attack" / f"{name}.yaml").is_file():
        return None
    return f"{asked}: {name} is not selected: write attack=[{','.join([*chosen, name])}]"


def explained(key: str) -> str:
    """The file that explains a key."""
    top = key.partition(".")[0]
    return shown(f"{top}/" if (CONFIGS / top).is_dir() and top else "config.yaml")


def _of_our_attack(it: Unknown) -> str:
    attack = it.parent.partition(".")[2]
    if it.name in _FOR_ALL:
        value = it.asked.partition("=")[2]
        return (
            f"unknown key {it.asked}: write attack.{it.name}={value} for all attacks, or "
            f"+{it.key}={value} for {attack} alone"
        )
    known = _keys_of_attacks()
    if it.name in known.get(str(it.values.get("_target_")), ("", frozenset()))[1]:
        return f"unknown key {it.asked}: write +{it.asked.lstrip('+')}"  # the file leaves it out
    owners = sorted(name for name, keys in known.values() if it.name in keys)
    if not owners:
        return _nearest(it, ())
    if attack == "fgsm" and it.name in ("steps", "step_size", "steps_round"):
        return f"unknown key {it.asked}: fgsm takes one step and has no {it.name}: take bim or pgd"
    take = owners[0] if len(owners) == 1 else f"one of {', '.join(owners)}"
    return f"unknown key {it.asked}: {attack} has no {it.name}: take {take}"


def _attacks() -> list[str]:
    return sorted(path.stem for path in (CONFIGS / "attack").glob("*.yaml"))


@cache
def _keys_of_attacks() -> dict[str, tuple[str, frozenset[str]]]:
    """By `_target_`: the name and the keys of every attack of ours, in its first file."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for path in sorted((CONFIGS / "attack").glob("*.yaml")):
        read: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        for name, node in read.items():
            found.setdefault(node["_target_"], (name, frozenset(node) - {"_target_", "epsilon"}))
    return found


def _nearest(it: Unknown, schema: Sequence[str]) -> str:
    """The nearest of the node's own keys and of those the schema has there."""
    remedy = f"see {explained(it.key)} for the keys there are"
    siblings = dict.fromkeys([*it.values, *schema])
    near = get_close_matches(
        it.name, [each for each in siblings if each not in ("options", "_target_")], 1
    )
    if near:
        remedy = f"did you mean {it.parent}{'.' if it.parent else ''}{near[0]}?"
    elif it.outside and it.name == "options":
        remedy = f"write +{it.asked.lstrip('+')}"
    elif it.outside and "options" in siblings:
        plus = "" if it.name in (it.values.get("options") or {}) else "+"
        remedy += f", or give a parameter of your own as {plus}{it.parent}.options.{it.name}"
    elif it.parent.endswith(".options"):
        remedy = f"write +{it.asked.lstrip('+')} if your own code takes it"
    return f"unknown key {it.asked}: {remedy}"


def _values(node: Any) -> Mapping[str, Any]:
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing():
        return {}
    plain: Any = OmegaConf.to_container(node, resolve=False)
    return {str(key): value for key, value in plain.items() if key != "hydra"}


def _keys_below(parent: str) -> list[str]:
    if parent.startswith("attack."):
        return [f.name for f in fields(AttackConfig)]
    return [key.rpartition(".")[2] for key in _keys(Config) if key.rpartition(".")[0] == parent]


def _keys(node: type, at: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(node).items():
        yield f"{at}{name}"
        for kind in (hint, *get_args(hint)):
            if is_dataclass(kind) and isinstance(kind, type) and kind is not AttackConfig:
                yield from _keys(kind, f"{at}{name}.")

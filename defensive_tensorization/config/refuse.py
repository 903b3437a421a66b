"""What Hydra and OmegaConf refuse in many lines, as one: the key, the value, the remedy."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ..errors import UsageError, did_you_mean
from .files import CONFIGS, shown
from .outside import searched
from .schema import Config
from .unknown import explained, unknown

_NAMED = ("dataset", "model", "precision", "defence", "train", "scale")
_KINDS = {"Float": "a number", "Integer": "a whole number"}


def refuse_malformed(overrides: Sequence[str]) -> None:
    """Words that are no key=value, and keys that nobody sets by hand."""
    for override in overrides:
        key, equals, _ = override.lstrip("+").partition("=")
        if override.startswith("~"):
            raise UsageError(f"{override}: a key cannot be taken away, give it another value")
        if not (key and equals):
            raise UsageError(f"'{override}' is no key=value: write one, such as theta=0.9")
        try:
            OverridesParser.create().parse_override(override)
        except HydraException:
            raise UsageError(
                f"{override} cannot be read: write key=value, special characters in quotes"
            ) from None
        group = key.removesuffix(".name")
        if group != key and group in _NAMED:
            raise UsageError(
                f"{override}: the name belongs to the option, choose it with {group}=OPTION, "
                f"one of {options(group, overrides)}"
            )


def refusal(error: Exception, overrides: Sequence[str] = ()) -> UsageError | None:
    """What Hydra or OmegaConf refused, on one line; None for an error of another kind."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        return usage_error(error, overrides)
    if type(error) is ValueError and "Config group override" in str(error):
        return usage_error(error, overrides)
    if type(error) is AssertionError and "Unexpected type" in str(error):
        return _in_nothing(overrides)
    return None


def usage_error(error: Exception, overrides: Sequence[str] = ()) -> UsageError:
    """One line for an error of Hydra's or OmegaConf's; `overrides` tell what was asked for."""
    cause: BaseException = error
    while cause.__cause__ is not None and not isinstance(cause, OmegaConfBaseException):
        cause = cause.__cause__
    key = getattr(cause, "full_key", None) or ""
    text = " ".join(f"{error} {cause}".split())
    for pattern, reading in _READINGS:
        found = re.search(pattern, text)
        if found:
            parts = [part for part in found.groups() if part]
            return UsageError(reading(key, parts, overrides, getattr(cause, "parent_node", None)))
    first = " ".join(str(cause).split("\n")[0].split())
    return UsageError(f"{f'{key}: ' if key else ''}{first}; see {explained(key)}")


def options(group: str, overrides: Sequence[str] = ()) -> str:
    """Of a group of ours, or of Hydra's, whose options its plugins bring.

    overrides: may name folders that hold more of them (hydra.searchpath).
    """
    folders = [CONFIGS, *searched(overrides)]
    names = {path.stem for folder in folders for path in (folder / group).glob("*.yaml")}
    if group.startswith("hydra/"):
        with suppress(OSError):  # Hydra's word for: nothing there
            brought = ConfigStore.instance().list(group)
            names |= {name.removesuffix(".yaml") for name in brought if name.endswith(".yaml")}
    return ", ".join(sorted(names))


def _no_option(key: str, found: list[str], overrides: Sequence[str], node: Any) -> str:
    group, _, name = found[0].rpartition("/")
    there = options(group, overrides).split(", ")
    own = [f"{folder / group}/" for folder in searched(overrides) if (folder / group).is_dir()]
    every = f"all: {' and '.join([f'{shown(group)}/', *own])}"
    return f"{found[0]} does not exist: {did_you_mean(name, there, every)}"


def _null_group(key: str, found: list[str], overrides: Sequence[str], node: Any) -> str:
    groups = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    asked = [o for o in overrides if o.partition("=")[0] in groups]
    at = next((o for o in asked if o.endswith("=null")), (asked or ["a group"])[-1])
    group = at.partition("=")[0]
    empty = " (attack=[] means no attack)" if group == "attack" else ""
    return f"{at}: name an option, one of {options(group, overrides)}{empty}"


def _in_nothing(overrides: Sequence[str]) -> UsageError | None:
    """OmegaConf's assertion about a key of a node that is None."""
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        for node in _optional(Config):
            if key.startswith(f"{node}."):
                group = node.partition(".")[0]
                return UsageError(
                    f"{override}: there is no {node} here, choose {group}=OPTION, one of "
                    f"{options(group, overrides)}"
                )
    return None


def _unknown_key(key: str, found: list[str], overrides: Sequence[str], node: Any) -> str:
    return unknown(key or found[0], overrides, node)


def _wrong_type(key: str, found: list[str], overrides: Sequence[str], node: Any) -> str:
    value, kind = found
    return f"{key} must be {_KINDS.get(kind, kind)}, got {value!r}: see {explained(key)}"


def _wrong_bool(key: str, found: list[str], overrides: Sequence[str], node: Any) -> str:
    return f"{key} must be true or false, got {found[0]!r}: see {explained(key)}"


def _not_a_value(key: str, found: list[str], overrides: Sequence[str], node: Any) -> str:
    if found[0] == "AttackConfig" and not key.startswith("attack."):
        there = options("attack", overrides)
        return f"attack.{key} is no attack: choose with attack=[fgsm,pgd] among {there}"
    return f"{key} is a group of keys, not a value: set one of them, see {explained(key)}"


_READINGS = (
    (r"Could not load '([^']+)'", _no_option),
    (r"Could not find '([^']+)'.*Available options in", _no_option),
    (
        r"An item is already at '([^']+)'.*Either remove \+ prefix: '([^']+)'",
        lambda key, found, *_: f"{found[0]} exists already: write {found[1]} without the +",
    ),
    (
        r"force-add of config groups is not supported: '\+\+([^']+)'",
        lambda key, found, *_: f"++{found[0]}: a group takes no ++, write {found[0]}",
    ),
    (
        r"Ambiguous value for argument '([^']+)'",
        lambda key, found, *_: f"{found[0]} is a sweep: add -m, or quote the value",
    ),
    (r"Could not override '([^']+)'|Key '([^']+)' (?:is )?not in", _unknown_key),
    (
        r"field '([^']+)' is not Optional",
        lambda key, found, *_: f"{found[0]} needs a value, got None: see {explained(found[0])}",
    ),
    (r"Value '(.*)' of type '\w+' could not be converted to (\w+)", _wrong_type),
    (r"Value '(.*)' is not a valid bool", _wrong_bool),
    (r"Invalid type assigned: \w+ is not a subclass of (\w+)", _not_a_value),
    (r"Config group override must be a string or a list", _null_group),
)


def _optional(node: type, at: str = "") -> Iterator[str]:
    """The nodes of the schema that may be None."""
    for name, kind in get_type_hints(node).items():
        if type(None) in get_args(kind) and any(map(is_dataclass, get_args(kind))):
            yield f"{at}{name}"
        elif is_dataclass(kind) and isinstance(kind, type):
            yield from _optional(kind, f"{at}{name}.")

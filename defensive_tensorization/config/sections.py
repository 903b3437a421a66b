"""A configuration's sections in the schema's types; one that was seen before is copied.

OmegaConf takes a tenth of a second for a whole configuration, and a table has dozens that differ in
a section or two.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from .schema import Config

KEPT = 512
_SCHEMA = OmegaConf.structured(Config)
_NAMES = {f.name for f in fields(Config)}
_seen: dict[tuple[str, str], Any] = {}


def typed(plain: Mapping[str, Any]) -> Config:
    """The plain values in the schema's types.

    Raises:
        OmegaConfBaseException: for a key that is unknown or missing, or a value of another type.
    """
    if _NAMES - plain.keys():  # what is missing, OmegaConf tells
        return cast(Config, OmegaConf.to_object(OmegaConf.merge(_SCHEMA, dict(plain))))
    return Config(**{name: _section(name, value) for name, value in plain.items()})


def _section(name: str, value: Any) -> Any:
    key = name, repr(value)
    if key not in _seen:
        merged = cast(DictConfig, OmegaConf.merge(_SCHEMA, {name: value}))
        made = merged[name]
        if len(_seen) >= KEPT:
            _seen.clear()
        _seen[key] = OmegaConf.to_object(made) if OmegaConf.is_config(made) else made
    return deepcopy(_seen[key])

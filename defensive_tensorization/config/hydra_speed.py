"""What Hydra does for every composition and needs once, or never: a quarter of its time.

Four functions of Hydra 1.3 and OmegaConf 2.3 are replaced by ones with the same results.
"""

from copy import deepcopy
from functools import lru_cache
from typing import Any

import omegaconf._utils
import omegaconf.base
from hydra._internal import defaults_list
from hydra._internal.core_plugins.structured_config_source import StructuredConfigSource
from hydra._internal.defaults_list import Overrides
from hydra.core.default_element import InputDefault
from omegaconf import DictConfig, grammar_parser
from omegaconf.base import Metadata

_choices = defaults_list._create_interpolation_map
_NONE_ASKED = DictConfig({})
_read_again = grammar_parser.parse
_read_once = lru_cache(maxsize=4096)(_read_again)


def _choices_if_asked(
    overrides: Overrides, defaults_list: list[InputDefault], self_added: bool
) -> DictConfig:
    """The options chosen so far, for entries of a defaults list such as `model: ${dataset}`.

    Hydra makes a configuration of them for each file; no file of ours has such an entry.
    """
    if any(each.is_interpolation() for each in defaults_list):
        return _choices(overrides, defaults_list, self_added)
    return _NONE_ASKED


def _the_source_itself(source: StructuredConfigSource, memo: Any) -> StructuredConfigSource:
    """Hydra copies its sources, and with this one the store of every schema that is registered.

    Nothing changes the source, and the store hands out copies.
    """
    return source


def _metadata(of: Metadata, memo: Any) -> Metadata:
    """Of a node: types, which are not copied, and two dictionaries."""
    made = object.__new__(type(of))
    vars(made).update(vars(of))
    if of.flags is not None:
        made.flags = dict(of.flags)
    cache = of.resolver_cache
    made.resolver_cache = deepcopy(cache, memo) if cache else cache.copy()
    return made


def install() -> None:
    """Replace the four, for this process."""
    defaults_list._create_interpolation_map = _choices_if_asked
    StructuredConfigSource.__deepcopy__ = _the_source_itself  # type: ignore[attr-defined]
    Metadata.__deepcopy__ = _metadata  # type: ignore[attr-defined]
    for module in (omegaconf.base, omegaconf._utils):  # who reads `${...}`; a tree is not changed
        module.parse = _read_once  # type: ignore[attr-defined]

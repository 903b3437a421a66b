"""Parts from outside the package: a folder of options (hydra.searchpath) and the code beside them.

    python -m defensive_tensorization 'hydra.searchpath=[file://mine]' model=my_model

mine/model/my_model.yaml is an option as those of configs/ are; its `_target_: my_model.MyModel` is
mine/my_model.py. Parameters of its own stand under `options`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ..errors import UsageError

KEY = "hydra.searchpath"
PACKAGE = __package__.partition(".")[0]


def importable(words: Sequence[str]) -> list[str]:
    """Let Python import what lies in the folders that hydra.searchpath names; return those words.

    Raises:
        UsageError: for a folder that is not there.
    """
    found = [word for word in words if _names_folders(word)]
    for word in found:
        for folder in searched([word]):
            if not folder.is_dir():
                raise UsageError(
                    f"{word}: {folder} is no folder, name one that holds options, such as "
                    "model/my_model.yaml"
                )
            if str(folder) not in sys.path:
                sys.path.append(str(folder))
    return found


def searched(words: Sequence[str]) -> list[Path]:
    """The folders of options that hydra.searchpath names, whether or not they are there."""
    found: list[Path] = []
    for word in words:
        if not _names_folders(word):
            continue
        value: Any = []
        with suppress(HydraException):  # refuse_malformed tells of it
            value = OverridesParser.create().parse_override(word).value()
        for each in value if isinstance(value, list) else [value]:
            scheme, _, path = str(each).partition("://")
            if scheme == "file":
                found.append(Path(path).expanduser().resolve())
    return found


def _names_folders(word: str) -> bool:
    return word.lstrip("+").partition("=")[0] == KEY


def is_outside(node: Any) -> bool:
    """Whether what a slot's `_target_` names is not this package's."""
    return bool(node._target_) and not node._target_.startswith(f"{PACKAGE}.")


def arguments(node: Any) -> dict[str, Any]:
    """What a slot's function is called with; None means: not given.

    One from outside gets what is set, and not the defaults of keys that are another's.
    """
    given = {
        k: v for k, v in vars(node).items() if v is not None and k not in ("_target_", "options")
    }
    if is_outside(node):
        usual = {f.name: f.default for f in fields(node)}
        given = {k: v for k, v in given.items() if k == "name" or v != usual[k]}
    own = dict(getattr(node, "options", {}))
    if twice := sorted(own.keys() & given.keys()):
        raise UsageError(f"options.{twice[0]} is given beside {twice[0]}: leave one of them out")
    return given | own


def told_outside(node: Any) -> dict[str, Any]:
    """For an identity: the part from outside that a slot holds, its options; {} for ours."""
    if node is None or not (is_outside(node) or getattr(node, "options", {})):
        return {}
    from .build import persons_source  # which builds from arguments()

    return {
        "_target_": node._target_,
        "options": dict(node.options),
        "source": persons_source(node._target_),
    }


def as_words(options: Mapping[str, Any], key: str) -> tuple[tuple[str, Any], ...]:
    """An attack's own parameters as a row keeps them: name=value without spaces.

    Raises:
        UsageError: for a text with spaces.
    """
    made = []
    for name, value in options.items():
        plain = isinstance(value, bool | int | float | str)
        text = value if plain else json.dumps(value, separators=(",", ":"))
        if any(c.isspace() or c == "=" for c in f"{name}{text}"):
            raise UsageError(f"{key}.options.{name}={value!r}: a row keeps no spaces and no =")
        made.append((name, text))
    return tuple(made)

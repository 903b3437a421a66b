"""Any configuration that breaks the schema: one line, exit code 2, and nothing is written."""

import os
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from helpers.command import ended
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from defensive_tensorization.config import CONFIGS
from defensive_tensorization.config.check import _CHOICES, _RANGES
from defensive_tensorization.config.schema import AttackConfig, Config

GROUPS = sorted(path.name for path in CONFIGS.iterdir() if path.is_dir() and path.name != "hydra")
OUTSIDE = {
    "at least 1": ("0", "-1"),
    "a positive number": ("0", "-0.1", "nan", "inf"),
    "in (0, 1]": ("0", "1.1", "nan"),
    "at least 0": ("-1",),
    "between 0 and 1": ("-0.1", "1.1", "nan"),
}
NEVER = {  # what no field of the type can hold
    float: ("abc", "[1]", "{a: 1}", "1e", "'1 0'"),
    int: ("abc", "[1]", "{a: 1}", "1.5", "nan"),
    bool: ("perhaps", "[true]", "{a: 1}", "3.5"),
    str: ("[a]", "{a: 1}"),
    list: ("abc", "{a: 1}", "[a]", "3"),
    dict: ("abc", "[a]", "3"),
}


def leaves(node: type, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of the schema and the kind of its values; groups of keys are `dict`."""
    for name, hint in get_type_hints(node).items():
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        kind = next(each for each in kinds if each is not type(None))
        key = f"{at}{name}"
        if is_dataclass(kind):
            yield key, dict
            yield from leaves(kind, f"{key}.")
        else:
            yield key, get_origin(kind) or kind


KEYS = dict(leaves(Config)) | dict(leaves(AttackConfig, "attack.pgd."))
NODES = {key for key, kind in KEYS.items() if kind is dict}
TYPED = [(key, value) for key, kind in KEYS.items() for value in NEVER.get(kind, ())]
RANGED = [(key, value) for rule, _, keys in _RANGES for key in keys for value in OUTSIDE[rule]]
WORD = st.from_regex(r"[a-z]{3,9}", fullmatch=True)

MALFORMED = st.one_of(
    st.sampled_from([f"{key}={value}" for key, value in TYPED if key not in GROUPS]),
    st.sampled_from([f"{key}={value}" for key, value in RANGED]),
    st.builds("{}=no{}".format, st.sampled_from(sorted(_CHOICES)), WORD),
    st.builds("{}=no{}".format, st.sampled_from(GROUPS), WORD),
    st.builds("{}{}x{}=1".format, st.sampled_from(["", "+", "++"]), st.sampled_from([*KEYS]), WORD),
    st.builds("{}.x{}=1".format, st.sampled_from(sorted(NODES)), WORD),
    st.builds("theta={}".format, st.floats().filter(lambda theta: not 0 < theta <= 1)),
    st.builds("eval.epsilon=[{}]".format, st.one_of(WORD, st.floats(max_value=-1e-9))),
    st.builds("~{}".format, st.sampled_from([*KEYS])),
    st.builds("{}{}".format, st.sampled_from([*KEYS]), st.sampled_from(["", "=[1", "={a", "='b"])),
)


def refused(word: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(os.listdir(folder))
    code, output, error = ended([word], folder, capsys)
    assert code == 2
    assert re.fullmatch(r"error: [^\n]+\n", error), error
    assert output == "" and "Traceback" not in error
    assert sorted(os.listdir(folder)) == before


def test_the_schema_is_what_is_broken() -> None:
    """Every key that somebody can set is among those that are tried."""
    assert {f.name for f in fields(Config)} <= KEYS.keys()
    assert {"train.optimizer.lr", "defence.perturb.sigma", "attack.pgd.steps"} <= KEYS.keys()
    assert {rule for rule, _, _ in _RANGES} == OUTSIDE.keys()
    assert len(TYPED) > 300


@pytest.mark.parametrize(
    "count", [8, pytest.param(200, marks=pytest.mark.slow)], ids=["few", "two hundred"]
)
def test_malformed_configurations_are_one_line(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []

    @settings(max_examples=count, phases=[Phase.explicit, Phase.reuse, Phase.generate])
    @example("defence.relu.bits=4").via("below a key that is null")
    @example("defence.perturb.options.mine=1").via("two below a key that is null")
    @given(MALFORMED)
    def each(word: str) -> None:
        tried.append(word)
        refused(word, tmp_path, capsys)

    each()
    assert len(tried) >= count

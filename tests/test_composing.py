"""What a process keeps of configurations is never seen: files, and sections in their types."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from defensive_tensorization.config import CONFIGS, composed
from defensive_tensorization.config.compose import _from_our_files
from defensive_tensorization.config.identity import plain
from defensive_tensorization.config.parsed import parsed_once
from defensive_tensorization.config.schema import Config
from defensive_tensorization.config.sections import typed


class Counted(FileConfigSource):
    parsed = 0

    def load_config(self, config_path: str) -> ConfigResult:
        self.parsed += 1
        return super().load_config(config_path)


def test_a_file_is_parsed_once_until_it_changes(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("# @package _global_\nx: 1\n")
    source = Counted("main", str(tmp_path))
    sources: list[ConfigSource] = [source]
    parsed_once(sources)
    [kept] = deepcopy(sources)  # as Hydra does for each composition
    first = kept.load_config("a")
    assert first.config == {"x": 1} and first.header == {"package": "_global_"}
    first.config.x = first.header["package"] = "changed by whoever got it"
    again = kept.load_config("a")
    assert again.config == {"x": 1} and again.header == {"package": "_global_"}
    assert source.parsed == 1
    (tmp_path / "a.yaml").write_text("x: 22\n")
    assert kept.load_config("a").config == {"x": 22} and source.parsed == 2
    assert (
        kept.is_config("a") and not kept.is_config("b") and kept.full_path().endswith(tmp_path.name)
    )


@pytest.mark.parametrize(
    "words",
    [
        "theta=0.8 model.width=4",
        "dataset=synthetic_tones seed=3 model=soundnet5 eval.epsilon=[0.1,1/255] device=cpu",
        "attack.pgd.steps=3 theta=0.9 attack=[pgd,square] theta=0.7 ++attack.pgd.draws=2",
        "experiment=honest_table1 eval.images=3 method=ours_0.9 scale=cpu scale.autocast=float32",
        "hydra.mode=RUN train.milestones=[0.2,0.4] tucker.rank='same'",
    ],
)
def test_values_are_set_as_hydra_sets_them(words: str) -> None:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        expected = compose("config", words.split())
    found = _from_our_files(str(CONFIGS), tuple(words.split()))
    assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)
    for struct in (found, found.model, found.train.optimizer):
        assert OmegaConf.is_struct(struct)


@pytest.mark.parametrize(
    "word", ["theta=0.9,0.8", "model.nosuch=1", "seed=one", "eval=3", "attack.pgd.x.y=1"]
)
def test_values_are_refused_in_hydra_s_words(word: str) -> None:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"), pytest.raises(Exception) as own:
        compose("config", ["model.width=4", word])
    with pytest.raises(Exception) as ours:
        _from_our_files(str(CONFIGS), ("model.width=4", word))
    assert (type(ours.value), str(ours.value)) == (type(own.value), str(own.value))


def test_what_is_kept_outlives_whoever_got_it() -> None:
    words = ["experiment=table1", "method=ours_0.9", "scale=cpu", "scale.autocast=float32"]
    kept = OmegaConf.to_yaml(_from_our_files(str(CONFIGS), tuple(words)))
    first = composed(words)
    before = deepcopy(plain(first))
    first.theta, first.train.milestones[0], first.attack["pgd"].steps = 0.5, 0.1, 7
    del first.attack["fgsm"]
    assert plain(composed(words)) == before
    assert OmegaConf.to_yaml(_from_our_files(str(CONFIGS), tuple(words))) == kept


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return plain(composed(["theta=0.8", "landscape=plane", "attack=[pgd,square]"]))


def as_one(values: dict[str, Any]) -> Config:
    """By OmegaConf, all sections at once."""
    made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), values))
    assert isinstance(made, Config)
    return made


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("train", {"epochs": "3", "milestones": [0.5, 1]}),
        ("tucker", {"rank": True}),
        ("tucker", {"rank": 1}),
        ("tucker", {"rank": 1.0}),
        ("dataset", {"options": {"count": 1, "on": True}}),
        ("dataset", {"options": {"count": True, "on": 1.0}}),
    ],
)
def test_sections_are_what_omegaconf_makes_of_the_whole(
    section: str, changes: dict[str, Any], whole: dict[str, Any]
) -> None:
    values = whole | {section: whole[section] | changes}
    for _ in range(2):
        assert repr(typed(values)) == repr(as_one(values))


def test_what_is_done_to_a_configuration_is_not_in_the_next(whole: dict[str, Any]) -> None:
    first, expected = typed(whole), as_one(whole)
    first.train.epochs = 99
    first.attack["pgd"].epsilon = "changed"
    first.autocast_auto.append("changed")
    del first.attack["square"]
    assert typed(whole) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"nosuch": 1},
        {"theta": None},
        {"seed": "one"},
        {"train": {"nosuch": 1}},
        {"train": {"epochs": "many"}},
        {"attack": {"pgd": {"nosuch": 1}}},
        {"attack": {"pgd": 3}},
    ],
)
def test_sections_are_refused_as_the_whole_is(
    changes: dict[str, Any], whole: dict[str, Any]
) -> None:
    told = []
    for read in (typed, as_one):
        with pytest.raises(OmegaConfBaseException) as caught:
            read(whole | changes)
        told.append((type(caught.value), caught.value.full_key, str(caught.value).split("\n")[0]))
    assert told[0] == told[1]


def test_what_is_missing_is_refused(whole: dict[str, Any]) -> None:
    without = {key: value for key, value in whole.items() if key != "seed"}
    for values in (without, whole | {"seed": "???"}):
        for read in (typed, as_one):
            with pytest.raises(OmegaConfBaseException, match="[Mm]issing mandatory value: seed"):
                read(values)

"""Every configuration composes, and the hashes of committed rows and checkpoints stay theirs."""

import pytest
from golden import identities
from golden.files import read

from defensive_tensorization.config import CONFIGS, composed
from defensive_tensorization.results import store

GOLDEN = read(identities.FILE)


def test_every_golden_configuration_is_held() -> None:
    assert list(GOLDEN) == [*identities.EXPERIMENTS, *identities.OTHERS]


@pytest.mark.parametrize("words", identities.EXPERIMENTS)
def test_every_method_of_every_experiment_keeps_its_hashes(words: str) -> None:
    config = composed(words.split())
    assert config.experiment.name == words.split()[0].removeprefix("experiment=")
    assert (config.defence.conv is None) == ("tensorization" not in config.defence.name)
    assert identities.identity(config) == GOLDEN[words]


@pytest.mark.parametrize("words", identities.OTHERS)
def test_what_no_experiment_sets_keeps_its_hashes(words: str) -> None:
    assert identities.identity(composed(words.split())) == GOLDEN[words]


def test_every_committed_row_is_of_a_golden_identity() -> None:
    """What no experiment asks for any more would never be found again."""
    rows = store.read([CONFIGS.parent / "results" / "cpu" / "rows"])
    golden = {(each["recipe"], one) for each in GOLDEN.values() for one in each["protocols"]}
    assert rows
    assert {(row.recipe, row.protocol) for row in rows} <= golden

"""What the checkpoints and rows of a folder say of themselves, and a configuration read back."""

from pathlib import Path

import pytest
import torch
from helpers.fake_rows import row
from helpers.saved_checkpoint import saved

from defensive_tensorization import config as cfg
from defensive_tensorization.commands.inventory import accuracy, age, listed, size, trainings
from defensive_tensorization.config import composed
from defensive_tensorization.errors import UsageError
from defensive_tensorization.results.row import Row

WORDS = ["dataset=cifar10", "scale=cpu"]


@pytest.mark.parametrize(
    "words",
    [
        ["theta=0.9"],
        ["defence=none"],
        ["experiment=table2", "method=adversarial_rfgsm"],
        ["experiment=table4", "method=binary_ours_0.99"],
        ["experiment=table5", "method=ours_0.95"],
        ["experiment=honest_table1", "method=ours_0.8", "tucker.modes=[0,1]", "tucker.rank=0.5"],
    ],
)
def test_a_configuration_comes_back_from_what_a_checkpoint_keeps(words: list[str]) -> None:
    config = composed(["scale=cpu", *words])
    assert cfg.restored(cfg.plain(config)) == config


def test_an_older_or_a_later_configuration() -> None:
    config = composed([*WORDS, "theta=0.9"])
    older = cfg.plain(config)
    del older["dataset"]["level"], older["eval"]["draws"]
    for later in ("adversarial_epochs", "weight_decay", "warmup", "decay"):
        del older["scale"][later]
    assert cfg.train_config_hash(cfg.restored(older)) == cfg.train_config_hash(config)
    with pytest.raises(UsageError, match="later"):
        cfg.restored(cfg.plain(config) | {"later": 1})


def test_checkpoints_say_how_far_they_are_and_damaged_ones_nothing(tmp_path: Path) -> None:
    config = composed([*WORDS, "theta=0.9"])
    saved(tmp_path, "one", config, epochs=2, seconds=5)
    (tmp_path / "two.pt").write_bytes(b"no checkpoint")
    torch.save({"config": {}}, tmp_path / "three.pt")
    (found,) = trainings(tmp_path)
    assert (found.name, found.epochs, found.left) == ("one", 2, 10)
    assert (found.seconds, found.accuracy, found.hardware) == ((5, 5), 0.614, "an abacus")
    assert found.size == (tmp_path / "one.pt").stat().st_size
    assert found.config == config
    assert trainings(tmp_path / "none") == []


def test_a_line_a_network_and_defence(tmp_path: Path) -> None:
    config = composed(WORDS)
    saved(tmp_path, "a", config, epochs=12)
    saved(tmp_path, "b", config, epochs=3)
    made = trainings(tmp_path)
    own = config.defence.name
    rows = [
        row(run_id="a", attack="clean", epsilon=0.0, robust_accuracy=0.75, defence=own),
        row(run_id="a", attack="pgd", epsilon=8.0, robust_accuracy=0.0, defence=own),
        row(run_id="a", attack="pgd", epsilon=8.0, robust_accuracy=0.4, defence="zz_squeezing"),
        row(run_id="c", attack="pgd", epsilon=2.0, robust_accuracy=0.5, defence="none"),
        row(run_id="d", attack="pgd", epsilon=2.0, defence="none", weights="digest"),
    ]
    released = {"digest": "resnet18-w16/dense"}
    lines = listed(made, rows, released, now=made[0].changed + 7300).splitlines()
    told = [line.split() for line in lines]
    heads = "run defence scale epochs clean PGD-8 rows age checkpoint"
    assert told[0] == heads.split()
    assert told[1][:8] == ["a", own, "cpu", "12/12", "75.0", "0.0", "2", "2"]
    assert told[2][:7] == ["a", "zz_squeezing", "cpu", "12/12", "—", "40.0", "1"]
    assert told[3][:7] == ["b", own, "cpu", "3/12", "~61.4", "—", "0"]
    assert told[4] == ["c", "none", "cpu", "—", "—", "—", "1", "—", "none"]
    assert told[5][7:] == ["—", "released", "as", "resnet18-w16/dense"]


def test_an_accuracy_is_of_the_protocol_with_most_images_and_seeds() -> None:
    def pgd(protocol: str, seed: int, accuracy: float, **more: object) -> Row:
        told = {"protocol": protocol, "eval_seed": seed, "robust_accuracy": accuracy}
        return row(attack="pgd", **told, **more)

    few = [pgd("few", seed, 0.9, n=100) for seed in range(9)]
    many = [pgd("many", seed, accuracy) for seed, accuracy in enumerate((0.1, 0.3))]
    knowing = [pgd("omniscient", 0, 0.5, knowledge="omniscient", n=5000)]
    assert accuracy([*few, *many, *knowing], "pgd", 8) == "20.0"
    assert accuracy(knowing, "pgd", 8) == accuracy(many, "pgd", 2) == "—"


def test_ages_and_sizes_in_the_unit_of_a_person() -> None:
    assert [age(s) for s in (-5, 30, 600, 7200, 200_000)] == ["0 s", "30 s", "10 min", "2 h", "2 d"]
    assert [size(b) for b in (0, 999, 1500, 2_500_000, 3_200_000_000)] == [
        *("0 B", "999 B", "2 kB", "2 MB", "3.2 GB")
    ]

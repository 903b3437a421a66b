"""A person's own code: found from any folder, and a part of what it computes."""

import sys
from pathlib import Path

import pytest
import torch

from defensive_tensorization import config as cfg
from defensive_tensorization.experiment.evaluation_config import eval_config_hash
from defensive_tensorization.system.source import persons_module, source_digest

WORDS = ["dataset=digits", "model=convnet", "defence=none", "theta=1", "logger=none"]
NETWORK = "from defensive_tensorization.models import ConvNet\nclass Mine(ConvNet):\n    pass\n"
ATTACK = (
    "from defensive_tensorization.attacks.in_units import eot_pgd\n"
    "def mine(*, epsilon, unit):\n"
    "    return eot_pgd(epsilon=epsilon, unit=unit, steps=1)\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's, the current one, which is not on Python's path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    return tmp_path


def forget(*names: str) -> None:
    import importlib

    importlib.invalidate_caches()
    for name in names:
        sys.modules.pop(name, None)


def test_a_changed_class_is_another_network(folder: Path) -> None:
    found = []
    for text in (NETWORK, NETWORK.replace("pass", "width_of = 3"), NETWORK):
        (folder / "their_model.py").write_text(text)
        forget("their_model")
        config = cfg.composed([*WORDS, "model._target_=their_model.Mine"])
        found.append(cfg.train_config_hash(config))
    assert found[0] != found[1] and found[0] == found[2]


def test_a_changed_attack_is_another_protocol(folder: Path) -> None:
    found = []
    for text in (ATTACK, ATTACK.replace("steps=1", "steps=int(1)"), ATTACK):
        (folder / "their_attack.py").write_text(text)
        forget("their_attack")
        words = [*WORDS, "attack=[eot_pgd]", "attack.eot_pgd._target_=their_attack.mine"]
        config = cfg.composed(words)
        attack = cfg.named("their_attack.mine")(epsilon=8, unit=1 / 255)
        found.append(eval_config_hash(config, attack))
    assert found[0] != found[1] and found[0] == found[2]


def test_libraries_and_this_package_are_known_by_their_names() -> None:
    assert persons_module(torch.optim.Adam) is None and persons_module(Path) is None
    assert cfg.persons_source("torch.optim.Adam") is None
    assert cfg.persons_source("defensive_tensorization.models.ConvNet") is None
    assert persons_module(test_libraries_and_this_package_are_known_by_their_names) is not None


class Base:
    first = 1


class Child(Base):
    second = 2


def test_a_digest_is_of_the_class_and_of_its_own_bases() -> None:
    class Lone(Base):
        second = 2

    assert len({source_digest(each) for each in (Base, Child, Lone)}) == 3
    assert source_digest(Child) == source_digest(Child)
    assert source_digest(int) != source_digest(float)  # no source: by name

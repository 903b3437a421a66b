"""A sweep's jobs in rounds: every network is made once, by a job that waits for none."""

from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from defensive_tensorization import config as cfg
from defensive_tensorization.config import Config, composed, rounds

CELLS = (
    *("defence=none", "defence=squeezing", "defence=quantization", "theta=1", "theta=0.9"),
    *("theta=0.8", "theta=0.9 model.batchnorm=batch", "theta=0.9 train.init=scratch"),
    *("theta=0.9 attack.knowledge=blackbox", "theta=1 attack.knowledge=blackbox"),
    *("defence=tensorization_pgd theta=0.9", "theta=0.9 seed=1"),
)


@cache
def config(words: str) -> Config:
    return composed(words.split())


def of(*cells: str) -> list[tuple[list[str], Config]]:
    return [(cell.split(), config(cell)) for cell in cells]


@cache
def recipe(words: str) -> str:
    return cfg.train_config_hash(config(words))


@cache
def bases(words: str) -> frozenset[str]:
    return frozenset(cfg.train_config_hash(each) for each in cfg.needed_by(config(words)))


def made_by(job: list[str]) -> set[str]:
    """What a job trains when the networks that it needs are there; at stage=bases, those."""
    *words, last = job
    if last == "stage=bases":
        return set(bases(" ".join(words)))
    return {recipe(" ".join(job))}


def needed(job: list[str]) -> set[str]:
    return set() if job[-1] == "stage=bases" else set(bases(" ".join(job)))


@given(st.lists(st.sampled_from(CELLS), unique=True))
@settings(max_examples=30)
@example(list(CELLS)).via("all of them")
@example(["theta=0.9 attack.knowledge=blackbox", "defence=none"]).via("half of its needs is a cell")
def test_no_job_waits_for_another_of_its_round(cells: list[str]) -> None:
    found = rounds(of(*cells))
    jobs = [job for each in found for job in each]
    assert sorted(job for job in jobs if job[-1] != "stage=bases") == sorted(
        cell.split() for cell in cells
    )
    there: set[str] = set()
    trained: list[str] = []
    for each in found:
        assert each
        making = [network for job in each for network in made_by(job) - there]
        assert len(making) == len(set(making)), "two jobs of a round make one network"
        assert all(needed(job) <= there for job in each), "a job needs what is not there yet"
        there |= set(making)
        trained += making
    assert len(trained) == len(set(trained))
    wanted = {n for cell in cells for n in made_by(cell.split()) | needed(cell.split())}
    assert there == wanted, "a network that nobody needs is trained, or one is not"


def test_the_rounds_of_a_table() -> None:
    cells = ("defence=none", "defence=squeezing", "theta=0.9", "theta=0.8")
    none, squeezing, nine, eight = (cell.split() for cell in cells)
    assert rounds(of(*cells)) == [[none, [*nine, "stage=bases"]], [squeezing, nine, eight]]
    assert rounds(of(*cells), together=False) == [[none, squeezing, nine, eight]]
    assert rounds(of("theta=0.9", "theta=1")) == [[["theta=1"]], [["theta=0.9"]]]
    assert rounds([]) == []


@pytest.mark.parametrize("together", [True, False])
def test_bases_alone_are_each_trained_once(together: bool) -> None:
    cells = (
        *("defence=none stage=bases", "theta=0.9 stage=bases", "theta=0.8 stage=bases"),
        *("theta=0.9 seed=1 stage=bases", "theta=0.8 attack.knowledge=blackbox stage=bases"),
    )
    _, nine, _, other, black = (cell.split() for cell in cells)
    assert rounds(of(*cells), together=together) == [[nine, other], [black]]
    assert rounds(of("defence=none stage=bases"), together=together) == []

"""Five attackers of one randomized network, told apart by the draws that they and scorers meet."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.fake_task import split, task
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.attacks import THREAT_MODELS, Attack, attacker
from defensive_tensorization.experiment.classifier import Classifier
from defensive_tensorization.experiment.evaluate import answers
from defensive_tensorization.tucker import TuckerConv2d

UNIT = 1 / 255
STEPS, BATCHES = 3, 2


def randomized(theta: float = 0.5) -> Classifier:
    torch.manual_seed(0)
    conv = TuckerConv2d.from_conv(nn.Conv2d(3, 12, 5), theta, init="random")
    return Classifier(nn.Sequential(conv, nn.Flatten(), nn.Linear(192, 4)), "float32")


def forwards(model: nn.Module, x: Tensor, *_: Any) -> Tensor:
    for _step in range(STEPS):
        model(x)
    return x


def met(knowledge: str, seed: int = 0) -> tuple[list[list[str]], list[str]]:
    """The masks of the attacker's forwards and the scorer's, by batch ("None": theta = 1)."""
    classifier, data = randomized(), task(split(16), split(16))
    attack = Attack("spy", 8, UNIT, STEPS, UNIT, False, forwards, knowledge=knowledge)
    with sketching.record(classifier) as ledger:
        answers(classifier, data, data.test, attack, seed, 8, randomized())
    (draws,) = ledger.to_dict().values()
    made = [str(draw) for draw in draws]
    each = len(made) // BATCHES
    batches = [made[i * each : (i + 1) * each] for i in range(BATCHES)]
    return [batch[:-1] for batch in batches], [batch[-1] for batch in batches]


def test_fresh_draws_differ_all() -> None:
    attacks, scores = met("fresh")
    every = [draw for batch in attacks for draw in batch] + scores
    assert len(every) == len(set(every)) == BATCHES * (STEPS + 1)


def test_frozen_is_the_defender_s_very_draw() -> None:
    attacks, scores = met("frozen")
    for batch, score in zip(attacks, scores, strict=True):
        assert batch == [score] * STEPS
    assert len({*scores, *met("frozen", seed=1)[1]}) == 2 * BATCHES  # one a batch and a seed


def test_transfer_holds_another() -> None:
    attacks, scores = met("transfer")
    for batch, score in zip(attacks, scores, strict=True):
        assert len(batch) == STEPS and len(set(batch)) == 1 and score not in batch
    assert attacks[0] != attacks[1] and len(set(scores)) == BATCHES


def test_omniscient_has_the_full_weights() -> None:
    attacks, scores = met("omniscient")
    assert attacks == [["None"] * STEPS] * BATCHES
    assert "None" not in scores and len(set(scores)) == BATCHES


def test_blackbox_never_meets_the_network() -> None:
    attacks, scores = met("blackbox")
    assert attacks == [[], []]
    assert len(set(scores)) == BATCHES
    twin = nn.Flatten()
    with attacker("blackbox", randomized(), 0, twin) as model:
        assert model is twin
    with (
        pytest.raises(ValueError, match="needs the dense surrogate"),
        attacker("blackbox", randomized(), 0),
    ):
        pass


@pytest.mark.parametrize("knowledge", [k for k in THREAT_MODELS if k not in ("fresh", "blackbox")])
def test_nothing_is_to_know_of_a_deterministic_network(knowledge: str) -> None:
    classifier, data = randomized(theta=1), task(split(16), split(16))

    def climb(model: nn.Module, x: Tensor, y: Tensor, *_: Any) -> Tensor:
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), x)
        return (x + gradient.sign() / 10).detach().clamp(0, 1)

    fresh = Attack("climb", 8, UNIT, 1, UNIT, False, climb)
    shares = [
        answers(classifier, data, data.test, each, 0, 8).accuracy
        for each in (fresh, replace(fresh, knowledge=knowledge))
    ]
    assert shares[0] == shares[1]

"""Defensive dropout: a draw at test, ordinary dropout in training, two rates."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from helpers.fake_task import split, task
from scipy.stats import binomtest
from torch import nn

from defensive_tensorization import sketching
from defensive_tensorization.attacks import THREAT_MODELS
from defensive_tensorization.attacks.scoring import score_logits
from defensive_tensorization.config import composed, run_id, train_config_hash
from defensive_tensorization.defences.dropout import DropoutLinear, last_layer
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.evaluate import Score, answers
from defensive_tensorization.experiment.evaluation_config import eval_config_hash, row
from defensive_tensorization.experiment.plan import Plan, attacks
from defensive_tensorization.models.logmel import LogMel
from defensive_tensorization.models.resnet import ResNet18
from defensive_tensorization.models.soundnet import SoundNet5

UNLIKELY = 1e-6
SMALL = ("model.width=4", "device=cpu")


def layer(rate: float = 0.3, train_rate: float = 0.6) -> DropoutLinear:
    made = DropoutLinear(50, 50, rate=rate, train_rate=train_rate, bias=False)
    nn.init.eye_(made.weight)
    sketching.seed(made, 0)
    return made


@pytest.mark.parametrize("training", [True, False])
def test_each_mode_has_its_rate_and_keeps_the_mean(training: bool) -> None:
    torch.manual_seed(0)
    made = layer().train(training)
    with sketching.per_sample(made):
        y = made(torch.ones(400, 50))
    rate = 0.6 if training else 0.3
    assert binomtest(int((y == 0).sum()), y.numel(), rate).pvalue > UNLIKELY
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - rate)))


def test_at_test_the_contexts_control_it() -> None:
    made, x = layer().eval(), torch.ones(3, 50)
    assert not torch.equal(made(x), made(x))
    shared = made(x)
    assert torch.equal(shared[0], shared[2])  # one draw for the batch
    with sketching.frozen(made, seed=0):
        assert torch.equal(made(x), made(x))
    with sketching.disabled(made):
        torch.testing.assert_close(made(x), x)


def test_rate_0_is_the_plain_layer() -> None:
    made, x = layer(rate=0).eval(), torch.rand(3, 50)
    assert not made.sketch.random
    torch.testing.assert_close(made(x), x)


def test_the_test_rate_has_no_part_in_the_weights_and_the_training_rate_has() -> None:
    base = composed(["defence=defensive_dropout", "theta=1", *SMALL, "attack=[]"])
    test, trained = deepcopy(base), deepcopy(base)
    test.defence.last.rate, trained.defence.last.train_rate = 0.7, 0.2
    assert train_config_hash(base) == train_config_hash(test) != train_config_hash(trained)
    assert (
        eval_config_hash(base, None)
        == eval_config_hash(trained, None)
        != eval_config_hash(test, None)
    )
    name = "digits-resnet18-real-defensive_dropout-seed0-00000000"
    assert run_id(base, "0" * 16) == name


@pytest.mark.parametrize(("model", "channels"), [(ResNet18, 3), (SoundNet5, 1), (LogMel, 1)])
def test_it_stands_in_front_of_the_last_layer_alone(model: type, channels: int) -> None:
    options = {"width": 4, "classes": 3, "mean": (0.0,) * channels, "std": (1.0,) * channels}
    network = model(**options, last=last_layer(rate=0.5, train_rate=0.5))
    assert list(sketching.sketches(network)) == ["head"]
    shapes = [
        {name: value.shape for name, value in each.state_dict().items()}
        for each in (network, model(**options))
    ]
    assert shapes[0] == shapes[1]


def test_every_attacker_there_is_can_attack_it() -> None:
    config = composed(["defence=defensive_dropout", "theta=1", *SMALL, "attack=[fgsm]"])
    p = Plan(config, task(split(8), split(8)))
    twin, classifier = (
        components.classifier(p.surrogate_plan, components.network(p.surrogate_plan)),
        components.classifier(p, components.network(p)),
    )
    right = score_logits(torch.eye(2)[None], torch.tensor([0, 1]))
    for knowledge in THREAT_MODELS:
        attack = replace(attacks(config)[0], knowledge=knowledge)
        share = answers(classifier, p.task, p.task.test, attack, 0, 8, twin).accuracy
        made = row(p, Score(attack, 0, 1.0, share, 8, 1.0, right), "command")
        assert made.defence == "defensive_dropout" and made.random
        assert ("no randomness" in made.draws) == (knowledge == "omniscient")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["defence.last.rate=1"], "defence.last.rate must be in [0, 1), got 1.0"),
        (["defence.last.train_rate=-1"], "defence.last.train_rate must be in [0, 1), got -1.0"),
        (
            ["precision=xnor", "precision.last=binary"],
            "defence=defensive_dropout drops inputs of a real last layer: take precision.last=real",
        ),
    ],
)
def test_settings_of_dropout_that_cannot_be_are_refused(overrides: list[str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        composed(["defence=defensive_dropout", "theta=1", *overrides])
    assert str(caught.value) == text


def test_a_rate_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="rate of dropout must lie in"):
        last_layer(rate=1.0, train_rate=0.5)(4, 2)

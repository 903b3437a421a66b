"""From a defence's configuration to what it does: its slots in the network, training and attack."""

from dataclasses import replace

import pytest
import torch
from helpers.fake_task import split, task
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.attacks import Attack
from defensive_tensorization.attacks.in_units import fgsm
from defensive_tensorization.attacks.scoring import score_logits
from defensive_tensorization.config import composed
from defensive_tensorization.defences.quantization import QuantizedReLU, orthogonality
from defensive_tensorization.defences.squeezing import FeatureSqueezing
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment import components, plan
from defensive_tensorization.experiment.classifier import Classifier
from defensive_tensorization.experiment.evaluate import Score, answers
from defensive_tensorization.experiment.evaluation_config import row
from defensive_tensorization.experiment.plan import Plan, attacks
from defensive_tensorization.models.batchnorm import Recalibrated
from defensive_tensorization.tables.caption_settings import settings
from defensive_tensorization.tucker import TuckerConv2d
from defensive_tensorization.xnor import XnorConv2d

SMALL = ("model.width=4", "model.reference=16", "eval.images=null", "device=cpu")


def planned(*overrides: str) -> Plan:
    return Plan(composed([*SMALL, *overrides]), task(split(64), split(32)))


# --- quantization -------------------------------------------------------------------------------


def test_every_activation_of_a_quantized_network_has_few_values() -> None:
    p = planned("defence=quantization", "theta=1", "defence.relu.bits=3")
    network = components.network(p)
    seen: list[int] = []
    for module in network.modules():
        assert not isinstance(module, nn.ReLU)
        if isinstance(module, QuantizedReLU):
            module.register_forward_hook(lambda m, i, out: seen.append(len(out.unique())))
    with torch.no_grad():
        network.train()(10 * torch.rand(8, 3, 8, 8))
    assert len(seen) == 17
    assert 2 < max(seen) <= 8


def test_beta_weighs_the_orthogonality_of_all_weights() -> None:
    p = planned("defence=quantization", "theta=1", "defence.beta=0.5")
    network = components.network(p)
    penalty = components.penalty(p)
    assert penalty is not None
    torch.testing.assert_close(penalty(network), 0.5 * orthogonality(network))
    penalty(network).backward()
    moved = {name for name, w in network.named_parameters() if w.grad is not None}
    assert moved == {name for name, w in network.named_parameters() if w.ndim > 1}
    assert len(moved) == 21  # 17 kernels of 3x3, 3 shortcuts, the last layer
    assert components.penalty(planned("defence=none", "theta=1")) is None


# --- squeezing ----------------------------------------------------------------------------------


def test_a_squeezed_classifier_is_the_network_behind_the_squeezing() -> None:
    p = planned("defence=squeezing", "theta=1")
    network = components.network(p)
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    classifier = components.classifier(p, network)
    expected = network.eval()(FeatureSqueezing()(x))
    torch.testing.assert_close(classifier(x), expected)
    torch.testing.assert_close(classifier.seen("oblivious")(x), network(x))
    assert classifier.seen("through") is classifier


@pytest.mark.parametrize("how", ["through", "oblivious"])
def test_an_attack_is_computed_on_what_it_knows_and_scored_behind_the_squeezing(how: str) -> None:
    """Squeezing to one bit makes black and white: which of the two the gradient was taken of."""
    met: dict[str, set[float]] = {}

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            name = "attack" if torch.is_grad_enabled() else "scoring"
            met.setdefault(name, set()).update(x.unique().tolist())
            return x.flatten(1)[:, :4]

    transform = FeatureSqueezing(bits=1, median=False)
    classifier = Classifier(Watched(), "float32", transform)
    data = task(split(4), split(4))
    attack = replace(fgsm(epsilon=4, unit=1 / 255), input=how)
    answers(classifier, data, data.test, attack, 0, 4)
    assert met["scoring"] == {0.0, 1.0}
    assert (met["attack"] == {0.0, 1.0}) == (how == "through")


def test_rows_name_the_defence_and_how_it_was_attacked() -> None:
    def score(attack: Attack | None, robust: float) -> Score:
        right = score_logits(torch.eye(2)[None], torch.tensor([0, 1]))
        return Score(attack, 0, 0.9, robust, 32, 1.0, right)

    for overrides, defence, how in (
        (["defence=squeezing", "attack.input=oblivious"], "squeezing", "oblivious"),
        (["defence=squeezing"], "squeezing", "through"),
        (["defence=adversarial_pgd"], "adversarial_pgd", ""),
    ):
        p = planned("theta=1", "attack=[fgsm]", *overrides)
        attack: Attack = attacks(p.config)[0]
        made = row(p, score(attack, 0.5), "command")
        assert (made.defence, made.input) == (defence, how)
        assert row(p, score(None, 0.9), "command").input == ""


def test_squeezing_is_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.cfg, "build", lambda *_: pytest.fail("data are read first"))
    config = composed(
        ["dataset=synthetic_tones", "model=soundnet5", "train=speech_commands", "defence=squeezing"]
    )
    with pytest.raises(UsageError) as caught:
        plan.plan(config)
    assert str(caught.value) == (
        "defence=squeezing squeezes the colours of images, model=soundnet5 reads clips: "
        "take another defence"
    )


# --- adversarial training -----------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["real", "xnor"])
def test_ours_with_adversarial_training_fills_two_slots(precision: str) -> None:
    p = planned("defence=tensorization_pgd", "theta=0.9", f"precision={precision}")
    network = components.network(p).train()
    kinds = (TuckerConv2d, XnorConv2d)
    assert any(isinstance(module, kinds) for module in network.modules())
    perturb = components.perturb(p, network)
    assert perturb is not None
    x = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    y = torch.arange(8) % 4
    with sketching.record(network) as ledger:
        made, _ = perturb(x, y, torch.Generator().manual_seed(0))
    assert 0 < float((made - x).abs().max()) <= 16 / 255 + 1e-6
    assert all(len(draws) >= 1 for draws in ledger.draws.values())
    assert network.training


def test_the_attack_of_training_meets_the_deployed_network() -> None:
    p = planned("defence=tensorization_pgd", "theta=0.9")
    network = components.network(p)
    assert isinstance(components.deployed(p, network), Recalibrated)
    dense = planned("defence=adversarial_pgd", "theta=1")
    network = components.network(dense)
    assert components.deployed(dense, network) is network
    assert components.perturb(planned("theta=0.9"), components.network(p)) is None


def test_a_caption_says_what_a_network_started_from_and_was_trained_on() -> None:
    words = ["defence=tensorization_pgd", "theta=0.9", "train.epochs=3", "train.init_epochs=5"]
    told = dict(settings({"Ours": composed(words), "None": composed(["defence=none"])}))
    assert "after 5 epochs at θ = 1, undefended (Ours)" in told["training"]
    assert told["training"].endswith("float32 (None)")
    assert "1 to min(ε + 4, 1.25 ε) steps of 1 from a random start" in told["defence"]
    single = dict(settings({"R+FGSM": composed(["defence=adversarial_rfgsm", "theta=1"])}))
    assert "ε 8, in levels, a random step of 4 and FGSM of the rest" in single["defence"]

"""One network for each defence and precision, trained for some steps; attacks on fixed weights.

Every number is a plain float under a name that says what it is of.
"""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.config import amended, composed
from defensive_tensorization.data import decode
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.ensure import Trained, evaluated, trained
from defensive_tensorization.experiment.plan import Plan, attacks, plan
from defensive_tensorization.results.row import Row

WEIGHTS = Path(__file__).with_name("weights.npz")
Numbers = dict[str, list[float]]

COMMON = [
    *("scale=smoke", "device=cpu", "logger=none", "model.reference=32"),
    *("train.autocast=float32", "eval.autocast=float32"),  # others need processors of their own
    *("train.epochs=1", "train.images=512", "train.batch_size=16", "train.optimizer.lr=0.05"),
    *("eval.images=100", "eval.runs=1", "eval.draws=4", "attack=[fgsm]", "eval.epsilon=[8]"),
]
FEWER = "train.images=256"
SMALL = ["dataset=digits", "model=convnet"]
RESNET = ["dataset=digits", "model=resnet18"]
TONES = ["dataset=synthetic_tones", "model=soundnet5", "train=speech_commands_tuned"]
NETWORKS = {
    "dense": [*SMALL, "defence=none", "theta=1"],
    "tensorization 1": [*SMALL, "theta=1"],
    "tensorization 0.9": [*SMALL, "theta=0.9"],
    "tensorization 0.95, PGD training": [*SMALL, "defence=tensorization_pgd", "theta=0.95", FEWER],
    "PGD training": [*SMALL, "defence=adversarial_pgd", "theta=1", FEWER],
    "R+FGSM training": [*SMALL, "defence=adversarial_rfgsm", "theta=1"],
    "quantization": [*SMALL, "defence=quantization", "theta=1"],
    "squeezing": [*SMALL, "defence=squeezing", "theta=1"],
    "activation pruning": [*SMALL, "defence=sap", "theta=1"],
    "defensive dropout": [*SMALL, "defence=defensive_dropout", "theta=1"],
    "binary dense": [*SMALL, "precision=xnor", "defence=none", "theta=1"],
    "binary tensorization 0.99": [*SMALL, "precision=xnor", "theta=0.99"],
}
UNTRAINED = {  # their initial weights alone
    "ResNet-18, tensorization 0.9": [*RESNET, "theta=0.9"],
    "ResNet-18, binary tensorization 0.99": [*RESNET, "precision=xnor", "theta=0.99"],
    "SoundNet5, tensorization 0.9": [*TONES, "theta=0.9"],
}

FIXED = [
    *("dataset=digits", "model=convnet"),
    *("eval.images=32", "eval.batch_size=16", "eval.draws=10", "eval.epsilon=[24]"),
]
ATTACKS = [
    "attack=[fgsm,bim,pgd,eot_pgd,apgd_ce,apgd_dlr,square]",
    *("attack.bim.steps=6", "attack.bim.step_size=4"),
    *("attack.pgd.steps=6", "attack.pgd.step_size=4"),
    *("attack.eot_pgd.steps=6", "attack.eot_pgd.step_size=4", "attack.eot_pgd.draws=3"),
    *("attack.apgd_ce.steps=8", "attack.apgd_ce.draws=3"),
    *("attack.apgd_dlr.steps=8", "attack.apgd_dlr.draws=3"),
    *("attack.square.steps=20", "attack.square.draws=3"),
]
KNOWLEDGE = ("frozen", "transfer", "omniscient", "blackbox")
HELD = {"frozen": ["eval.draws=1"]}  # it is scored on the draw that it holds
SURROGATES = ("identity", "tanh", "tanh075")


def plan_of(runs: Path, *words: str) -> Plan:
    paths = [f"paths.runs={runs}", "dataset.cache=null"]
    return plan(composed([*COMMON, *words, *paths]))


def network_numbers(name: str, runs: Path) -> Numbers:
    """Of the network before its training and after it, with its rows."""
    p = plan_of(runs, *NETWORKS[name])
    of = trained(p)
    found = start_numbers(name, p)
    found[f"{name}: loss after training"] = answers(p, of.network)["loss"]
    return found | rows(name, evaluated(p, of, "golden"))


def start_numbers(name: str, p: Plan) -> Numbers:
    return {f"{name}: {k} at the start": v for k, v in answers(p, components.network(p)).items()}


def answers(p: Plan, network: nn.Module) -> Numbers:
    """Of 16 test images under one draw: the loss, two images' logits, the gradient's length."""
    classifier = components.classifier(p, network)
    split = p.task.test.head(16)
    x = decode(split.inputs).requires_grad_()
    sketching.seed(classifier, 0)
    logits = classifier(x)
    loss = F.cross_entropy(logits, split.labels)
    (gradient,) = torch.autograd.grad(loss, x)
    return {
        "loss": [loss.item()],
        "logits": logits[:2].flatten().tolist(),
        "L1 norm of the gradient": [gradient.abs().sum().item()],
    }


def rows(name: str, made: list[Row]) -> Numbers:
    """Clean and robust accuracy by what they are of."""
    return {
        f"{name}: {r.attack} {r.epsilon:g}, {r.steps} steps, {r.knowledge}: accuracies": [
            r.clean_accuracy,
            r.robust_accuracy,
        ]
        for r in made
    }


class LossRecorder(nn.Module):
    """The network, keeping the mean loss of every batch of labels y that it is asked about."""

    def __init__(self, network: nn.Module, y: Tensor) -> None:
        super().__init__()
        self.network = network
        self.y = y
        self.losses: list[float] = []
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.network(x)
        if len(x) % len(self.y) == 0:
            of = self.y.repeat(len(x) // len(self.y))
            self.losses.append(float(F.cross_entropy(z.detach(), of)))
        return z


def fixed(p: Plan, key: str) -> nn.Module:
    """The plan's network with the committed weights."""
    network = components.network(p)
    with np.load(WEIGHTS) as stored:
        names = network.state_dict()
        network.load_state_dict({n: torch.from_numpy(stored[f"{key}/{n}"]) for n in names})
    return network


def attack_numbers(runs: Path) -> Numbers:
    """On fixed weights: the loss at every question of each attack, and the rows of all of them."""
    runs = runs / "fixed"  # its rows are not those of trained networks
    p = plan_of(runs, *FIXED, *ATTACKS, "theta=0.9")
    network = fixed(p, "real")
    of = Trained(network, "golden", "")
    found = rows("attack", evaluated(p, of, "golden")) | trails(p, network)
    for knowledge in KNOWLEDGE:
        one = only(p, "pgd", f"attack.pgd.knowledge={knowledge}", *HELD.get(knowledge, ()))
        found |= rows("attack", evaluated(one, of, "golden")[1:])
    still = only(p, "apgd_ce", "eval.sketch=false")
    found |= rows("attack at theta = 1", evaluated(still, of, "golden"))
    words = ["attack=[bim]", "attack.bim.steps=5", "precision=xnor", "defence=none", "theta=1"]
    p = plan_of(runs, *FIXED, *words, "eval.epsilon=[8]")
    of = Trained(fixed(p, "binary"), "golden", "")
    for surrogate in SURROGATES:
        one = only(p, "bim", f"attack.bim.surrogate={surrogate}")
        found |= rows(f"binary, {surrogate}", evaluated(one, of, "golden"))
    return found


def only(p: Plan, attack: str, *words: str) -> Plan:
    """The plan with one of its attacks and other values."""
    made = replace(p, config=amended(p.config, words))
    made.config.attack = {attack: made.config.attack[attack]}
    return made


def trails(p: Plan, network: nn.Module) -> Numbers:
    """The mean loss of 12 images at every question that an attack asks of one draw."""
    split = p.task.test.head(12)
    x = decode(split.inputs)
    found: Numbers = {}
    for attack in attacks(p.config):
        classifier = components.classifier(p, network)
        asked = LossRecorder(classifier, split.labels)
        with torch.random.fork_rng(), sketching.frozen(classifier, seed=0):
            torch.manual_seed(0)
            attack(asked, x, split.labels, p.task.bounds)
        found[f"{attack.name}: loss at every question"] = asked.losses
    return found


def autoattack_numbers(runs: Path) -> Numbers:
    """AutoAttack's `rand` on a few images: slow."""
    words = ["attack=[autoattack]", "eval.images=4", "theta=0.9"]
    p = plan_of(runs / "fixed", *FIXED, *words)
    return rows("attack", evaluated(p, Trained(fixed(p, "real"), "golden", ""), "golden"))


def train_weights(runs: Path) -> None:
    """Make the committed weights anew: three small networks trained on all of digits."""
    stored: dict[str, np.ndarray] = {}
    full = ["train.images=null", "train.batch_size=64", "train.epochs=12", "train.optimizer.lr=0.1"]
    cases = {
        "real": ["theta=0.9"],
        "dense": ["defence=none", "theta=1"],
        "binary": ["precision=xnor", "defence=none", "theta=1"],
    }
    for key, words in cases.items():
        network = trained(plan_of(runs, *FIXED, *full, *words)).network
        for name, value in network.state_dict().items():
            kept = value.half().float() if value.is_floating_point() else value
            stored[f"{key}/{name}"] = kept.contiguous().numpy()
    np.savez_compressed(WEIGHTS, **stored)  # type: ignore[arg-type]


def all_numbers(runs: Path) -> Numbers:
    found: Numbers = {}
    for name in NETWORKS:
        found |= network_numbers(name, runs)
    for name, words in UNTRAINED.items():
        found |= start_numbers(name, plan_of(runs, *words))
    return found | attack_numbers(runs)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        chosen = autoattack_numbers if "slow" in sys.argv else all_numbers
        print(json.dumps(chosen(Path(folder))))

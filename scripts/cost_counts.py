"""Floating-point operations and bytes of each method of Table 2 at ImageNet size, counted.

torch's own counter, without computing; an attack's steps by running it on a network that counts;
the mean steps of PGD training by drawing them. Elementwise work (BatchNorm, the penalty of
quantization, squeezing, draws) is not counted.
"""

import argparse
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet50

import defensive_tensorization as dt
from defensive_tensorization import config as cfg
from defensive_tensorization.attacks import Attack
from defensive_tensorization.attacks.attack import step_count
from defensive_tensorization.attacks.training import truncated_normal
from defensive_tensorization.experiment.components import channels_last
from defensive_tensorization.experiment.plan import attacks

TRAIN, TEST, SIDE = 1_281_167, 50_000, 224  # ILSVRC-2012, at ResNet-50's usual size
THETA = 0.8


@dataclass(frozen=True)
class Cost:
    """Of one method, in operations: its base's training, its own, the attack in it, evaluation."""

    base: float
    train: float
    perturb: float
    evaluate: float

    @property
    def total(self) -> float:
        return self.base + self.train + self.perturb + self.evaluate


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "dense": channels_last(resnet50()),
        "ours": channels_last(dt.tensorize(resnet50(), theta=THETA, min_dim=3, init="random")),
    }


def flops(net: nn.Module, what: str, batch: int) -> float:
    """Of one operation on a batch, a multiply-add as two."""
    with FakeTensorMode(allow_non_fake_inputs=True), FlopCounterMode(display=False) as counter:
        x, y = torch.rand(batch, 3, SIDE, SIDE), torch.zeros(batch).long()
        net.train(what == "training step").requires_grad_(what == "training step")
        with torch.set_grad_enabled(what != "forward"):
            loss = F.cross_entropy(net(x.requires_grad_(what == "attack step")), y)
        if what != "forward":
            loss.backward()
    return float(counter.get_total_flops())


def saved(net: nn.Module, batch: int) -> int:
    """Bytes that a training step keeps for its backward, weights apart."""
    known = {p.untyped_storage()._cdata for p in net.parameters()}
    found: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage._cdata not in known:
            found[storage._cdata] = storage.nbytes()
        kept.append(t)
        return t

    kept: list[Tensor] = []  # or a storage's address is used again
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        net.train().requires_grad_(True)(torch.rand(batch, 3, SIDE, SIDE))
    return sum(found.values())


class Counting(nn.Module):
    """A network of one weight that counts how it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(10, 3))
        self.asked = {"forward": 0, "attack step": 0}

    def forward(self, x: Tensor) -> Tensor:
        self.asked["attack step" if x.requires_grad else "forward"] += 1
        return F.linear(x.mean((2, 3)), self.weight)


def asked(attack: Attack) -> dict[str, int]:
    """Forwards and attack steps of one attack on one batch."""
    net = Counting().eval().requires_grad_(False)
    attack(net, torch.rand(2, 3, 4, 4), torch.zeros(2).long(), (0.0, 1.0))
    return net.asked


@cache
def pgd_steps(sigma: float, largest: float, rule: str, draws: int = 2_000) -> float:
    """Mean steps of PGD training: half of one more than the most, over its random epsilon."""
    made = torch.Generator().manual_seed(0)
    most = [step_count(truncated_normal(sigma, largest, made), None, rule) for _ in range(draws)]
    return sum((m + 1) / 2 for m in most) / draws


class Counts:
    """Operations per image of each kind of step, and what follows for a method of Table 2."""

    def __init__(self, nets: dict[str, nn.Module], options: argparse.Namespace) -> None:
        self.options = options
        size = options.batch, options.eval_batch
        self.train = {n: flops(net, "training step", size[0]) / size[0] for n, net in nets.items()}
        before = {n: 0.0 for n in nets}
        before["ours"] = flops(nets["ours"], "forward", options.reference)  # at each of its draws
        self.step = {
            (n, where): (flops(net, "attack step", b) + before[n]) / b
            for n, net in nets.items()
            for where, b in zip(("training", "evaluation"), size, strict=True)
        }
        self.forward = {
            n: (flops(net, "forward", size[1]) + before[n]) / size[1] for n, net in nets.items()
        }

    def of(self, config: cfg.Config) -> Cost:
        perturb = config.defence.perturb
        kind = "ours" if cfg.has_random_kernels(config.defence) else "dense"
        images = TRAIN * self.options.epochs
        steps = 0.0
        if perturb is not None:
            random = perturb.sigma is not None
            steps = (
                pgd_steps(perturb.sigma or 8, perturb.largest or 16, perturb.steps_round or "floor")
                if random
                else 1.0
            )
        calls = {what: 0 for what in ("forward", "attack step")}
        aimed = attacks(config)
        for attack in aimed:
            for what, count in asked(attack).items():
                calls[what] += count
        calls["forward"] += len(aimed) + 1  # scoring, and the clean row
        rows = TEST * config.eval.runs
        return Cost(
            base=images * self.train["ours"] if cfg.base_of(config) else 0.0,
            train=images * self.train[kind],
            perturb=images * steps * self.step[kind, "training"],
            evaluate=rows
            * (
                calls["forward"] * self.forward[kind]
                + calls["attack step"] * self.step[kind, "evaluation"]
            ),
        )

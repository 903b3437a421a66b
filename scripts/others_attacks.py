"""Attacks on randomized networks as each tool has them, at one budget of gradients an image.

A budget is `steps` times `draws` passes forward and backward of an image. What a tool does with it:

| tool | passes |
|---|---|
| Foolbox, torchattacks, `dt.attacks.eot_pgd` | steps x draws |
| `dt.attacks.apgd` | steps - 1 steps and a start, each of `draws` |
| AutoAttack `rand` | two attacks of steps / 2 - 1 steps and a start, each of `draws` |
| AutoAttack `rand`, as shipped | two attacks of 100 steps and a start, each of 20 draws |

AutoAttack leaves out images that it counts as broken, so its passes are at most these.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

import defensive_tensorization as dt
from defensive_tensorization.attacks.amplitudes import REACH

SHIPPED = (100, 20)  # steps and draws of AutoAttack's `rand`, each of two attacks
REPORTED = 30  # fresh draws that score an image where this project reports


@dataclass(frozen=True)
class Budget:
    """An l-infinity attack: epsilon as an amplitude, steps, and the draws of each."""

    epsilon: float
    steps: int
    draws: int

    @property
    def step_size(self) -> float:
        return REACH * self.epsilon / self.steps


Made = tuple[Tensor, float]
"""x_adv [B, ...], and the robust accuracy that the tool reports of the batch, in [0, 1]."""

Run = Callable[[nn.Module, Tensor, Tensor, Budget], Made]


@dataclass(frozen=True)
class Tool:
    """passes: forward and backward of an image that is attacked all the way."""

    name: str
    package: str | None  # what must be installed; None: this project
    run: Run
    passes: Callable[[Budget], int] = field(default=lambda b: b.steps * b.draws)

    @property
    def version(self) -> str:
        """Raises PackageNotFoundError where the tool is not installed."""
        return metadata.version(self.package) if self.package else dt.__version__


class Counted(nn.Module):
    """The model, and how many images passed through it forward and backward since the start."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            self.passes += len(x)
        logits: Tensor = self.model(x)
        return logits


def autoattack(model: nn.Module, x: Tensor, y: Tensor, b: Budget) -> Made:
    """`rand` within the budget: its two attacks as they are, of fewer steps."""
    each = _each(b) - 1
    return _autoattack(model, x, y, b.epsilon, max(1, each), b.draws)


def autoattack_shipped(model: nn.Module, x: Tensor, y: Tensor, b: Budget) -> Made:
    return _autoattack(model, x, y, b.epsilon)


def _each(b: Budget) -> int:
    """Gradients of each of the two attacks: a start, and one a step."""
    return max(2, b.steps // 2)


def _autoattack(
    model: nn.Module, x: Tensor, y: Tensor, epsilon: float, steps: int = 0, draws: int = 0
) -> Made:
    from pyautoattack import AutoAttack
    from pyautoattack.autopgd_base import APGDAttack

    logging.getLogger("auto-attack").setLevel(logging.WARNING)
    seed = int(torch.randint(2**31, ()))
    made = AutoAttack(model, norm="Linf", eps=epsilon, version="rand", seed=seed, device=x.device)
    if steps:
        made.apgd = APGDAttack(
            model, n_iter=steps, eps=epsilon, eot_iter=draws, seed=seed, device=x.device,
            logger=made.logger,
        )  # fmt: skip
    x_adv, answers = made.run_standard_evaluation(x, y, batch_size=len(x))
    return x_adv, float((answers == y).float().mean())


def foolbox(model: nn.Module, x: Tensor, y: Tensor, b: Budget) -> Made:
    """PGD on the wrapper that averages logits over draws, which also says what is broken."""
    from foolbox import PyTorchModel
    from foolbox.attacks import LinfPGD
    from foolbox.models import ExpectationOverTransformationWrapper

    target = PyTorchModel(model, bounds=(0, 1), device=x.device)
    average = ExpectationOverTransformationWrapper(target, n_steps=b.draws)
    attack = LinfPGD(abs_stepsize=b.step_size, steps=b.steps, random_start=True)
    _, x_adv, broken = attack(average, x, y, epsilons=b.epsilon)
    return x_adv, 1 - float(broken.float().mean())


def torchattacks(model: nn.Module, x: Tensor, y: Tensor, b: Budget) -> Made:
    """EOT-PGD, and the robust accuracy that `save` returns."""
    from torchattacks import EOTPGD

    attack = EOTPGD(model, eps=b.epsilon, alpha=b.step_size, steps=b.steps, eot_iter=b.draws)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "found.pt"
        percent, _, _ = attack.save([(x, y)], str(file), verbose=False, return_verbose=True)
        x_adv = torch.load(file, weights_only=True)["adv_inputs"]
    return x_adv, percent / 100


def eot_pgd(model: nn.Module, x: Tensor, y: Tensor, b: Budget) -> Made:
    attack = dt.attacks.eot_pgd(
        epsilon=b.epsilon, steps=b.steps, samples=b.draws, step_size=b.step_size
    )
    return _reported(model, attack(model, x, y), y)


def apgd(model: nn.Module, x: Tensor, y: Tensor, b: Budget) -> Made:
    attack = dt.attacks.apgd(epsilon=b.epsilon, steps=max(1, b.steps - 1), samples=b.draws)
    return _reported(model, attack(model, x, y), y)


def _reported(model: nn.Module, x_adv: Tensor, y: Tensor) -> Made:
    """As `dt.evaluate` reports it: the mean over fresh draws, other ones than the comparison's."""
    found = dt.evaluate(
        model, (x_adv, y), samples=REPORTED, batch_size=len(y), seed=int(torch.randint(2**31, ()))
    )
    return x_adv, found.clean.accuracy


TOOLS = (
    Tool("AutoAttack rand", "pyautoattack", autoattack, lambda b: 2 * _each(b) * b.draws),
    Tool("Foolbox PGD, EOT wrapper", "foolbox", foolbox),
    Tool("torchattacks EOTPGD", "torchattacks", torchattacks),
    Tool("dt.attacks.eot_pgd", None, eot_pgd),
    Tool("dt.attacks.apgd", None, apgd),
    Tool(
        "AutoAttack rand, as shipped", "pyautoattack", autoattack_shipped,
        lambda b: 2 * (SHIPPED[0] + 1) * SHIPPED[1],
    ),
)  # fmt: skip

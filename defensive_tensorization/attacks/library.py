"""FGSM, BIM and PGD as Foolbox computes them: one attack object for each epsilon.

The gradient of every step comes from one fresh draw of a randomized network, and whether the
result fools it is scored elsewhere: nothing stops early, nothing is picked by luck.
"""

import os
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..errors import from_extra
from .attack import Attack, step_count
from .native import Bounds
from .numbers import positive

# Foolbox imports GitPython, whose import fails where there is no git, unless it is told otherwise.
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")


def fgsm(*, epsilon: float, unit: float) -> Attack:
    """Eq. 1: one step of the size of epsilon."""

    def perturb(model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, r: float) -> Tensor:
        with from_extra():
            from foolbox.attacks import LinfFastGradientAttack

        return _run(LinfFastGradientAttack(random_start=False), model, x, y, bounds, r)

    return Attack("fgsm", epsilon, unit, 1, epsilon * unit, False, perturb)


def bim(
    *,
    epsilon: float,
    unit: float,
    step_size: float = 1,
    steps: int | None = None,
    steps_round: str = "floor",
    level: float = 1,
) -> Attack:
    """Eq. 2 from the example itself; the rule for its steps counts epsilon in `level`s."""
    count = step_count(epsilon, steps, steps_round, positive("attack.bim.level", level))
    return _iterated("bim", epsilon, unit, step_size, count, False)


def pgd(
    *,
    epsilon: float,
    unit: float,
    step_size: float = 1,
    steps: int | None = None,
    steps_round: str = "floor",
    level: float = 1,
) -> Attack:
    """Eq. 2 from a uniformly random point of the ball; steps as in `bim`."""
    count = step_count(epsilon, steps, steps_round, positive("attack.pgd.level", level))
    return _iterated("pgd", epsilon, unit, step_size, count, True)


def _iterated(
    name: str, epsilon: float, unit: float, step_size: float, steps: int, random_start: bool
) -> Attack:
    step = positive(f"attack.{name}.step_size", step_size) * unit

    def perturb(model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, r: float) -> Tensor:
        with from_extra():
            from foolbox.attacks import LinfProjectedGradientDescentAttack

        attack = LinfProjectedGradientDescentAttack(
            abs_stepsize=step, steps=steps, random_start=random_start
        )
        return _run(attack, model, x, y, bounds, r)

    return Attack(name, epsilon, unit, steps, step, random_start, perturb)


def _run(
    attack: Any, model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds, radius: float
) -> Tensor:
    from foolbox import PyTorchModel
    from foolbox.criteria import Misclassification

    target = PyTorchModel(model, bounds=bounds, device=x.device)
    attack.value_and_grad = _value_and_grad
    return cast(Tensor, attack.run(target, x, Misclassification(y), epsilon=radius))


def _value_and_grad(loss_fn: Any, x: Any) -> tuple[Any, Any]:
    """As Foolbox's, whose `backward` would leave gradients in every parameter that it meets, those
    in plain lists too, and call the hooks of an optimizer that steps in the backward."""
    leaf = x.raw.clone().requires_grad_()
    loss = loss_fn(type(x)(leaf)).raw
    (gradient,) = torch.autograd.grad(loss, leaf)
    return type(x)(loss.detach()), type(x)(gradient)

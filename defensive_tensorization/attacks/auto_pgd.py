"""Auto-PGD (Croce & Hein 2020, Algorithm 1) on averages over K draws.

The direction, the count of rising steps, the halving of the step and the restart from the best
point all see the average, never one draw.
"""

import torch
from torch import Tensor

from ..errors import UsageError
from .attack import Attack
from .expectation import Expectation, cross_entropy, dlr
from .search import Ball, Best, searching

LOSSES = {"ce": cross_entropy, "dlr": dlr}
MOMENTUM = 0.75
RISING = 0.75  # rho: the share of steps that must have raised the loss


def checkpoints(steps: int) -> list[int]:
    """After which steps the size is judged: 22% of them, then intervals ever 3% shorter, to 6%."""
    interval, shortest = max(int(0.22 * steps), 1), max(int(0.06 * steps), 1)
    less = max(int(0.03 * steps), 1)
    found = [interval]
    while found[-1] + max(interval - less, shortest) <= steps:
        interval = max(interval - less, shortest)
        found.append(found[-1] + interval)
    return found


def apgd(
    *,
    epsilon: float,
    unit: float,
    loss: str = "ce",
    steps: int = 100,
    draws: int = 20,
    average: str = "gradient",
    restarts: int = 1,
) -> Attack:
    """From a uniform start, with steps of 2 epsilon to begin with."""
    if loss not in LOSSES:
        raise UsageError(f"attack.apgd.loss must be one of {', '.join(LOSSES)}, got {loss!r}")

    def search(asked: Expectation, ball: Ball, y: Tensor) -> Best:
        x_adv = x_previous = ball.start()
        each = (-1, *[1] * (x_adv.ndim - 1))
        estimate = asked(x_adv, y)
        best = Best(ball.x).offer(x_adv, estimate)
        eta = torch.full_like(estimate.loss, 2 * ball.radius)
        loss_adv, grad_adv = estimate.loss, estimate.gradient
        # where the averaged loss was highest
        x_best, loss_best, grad_best = x_adv, loss_adv, grad_adv
        loss_best_before, rises, last = loss_adv, torch.zeros_like(loss_adv), 0
        halved = torch.zeros_like(loss_adv, dtype=torch.bool)
        step_checkpoints = checkpoints(steps)
        for step in range(1, steps + 1):
            assert grad_adv is not None and grad_best is not None
            a = MOMENTUM if step > 1 else 1.0
            z = ball.project(x_adv + eta.view(each).to(x_adv.dtype) * grad_adv.sign())
            x_next = ball.project(x_adv + a * (z - x_adv) + (1 - a) * (x_adv - x_previous))
            estimate = asked(x_next, y)
            assert estimate.gradient is not None
            best.offer(x_next, estimate)
            rises = rises + (estimate.loss > loss_adv)
            higher = estimate.loss > loss_best
            x_best = torch.where(higher.view(each), x_next, x_best)
            grad_best = torch.where(higher.view(each), estimate.gradient, grad_best)
            loss_best = torch.where(higher, estimate.loss, loss_best)
            x_previous, x_adv, loss_adv, grad_adv = x_adv, x_next, estimate.loss, estimate.gradient
            if step in step_checkpoints:
                few = rises <= RISING * (step - last)
                halve = few | (~halved & (loss_best_before >= loss_best))
                eta = torch.where(halve, eta / 2, eta)
                x_adv = torch.where(halve.view(each), x_best, x_adv)
                grad_adv = torch.where(halve.view(each), grad_best, grad_adv)
                loss_adv = torch.where(halve, loss_best, loss_adv)
                loss_best_before, halved, rises, last = (
                    loss_best,
                    halve,
                    torch.zeros_like(loss_adv),
                    step,
                )
        return best

    return searching(
        f"apgd_{loss}",
        search,
        LOSSES[loss],
        epsilon=epsilon,
        unit=unit,
        steps=steps,
        step_size=2 * epsilon * unit,
        draws=draws,
        average=average,
        restarts=restarts,
    )

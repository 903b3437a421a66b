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
        now = before = ball.start()
        each = (-1, *[1] * (now.ndim - 1))
        made = asked(now, y)
        best = Best(ball.x).offer(now, made)
        size = torch.full_like(made.loss, 2 * ball.radius)
        f, gradient = made.loss, made.gradient
        top, top_f, top_gradient = now, f, gradient  # where the averaged loss was highest
        last_f, rises, last = f, torch.zeros_like(f), 0
        halved = torch.zeros_like(f, dtype=torch.bool)
        judged = checkpoints(steps)
        for step in range(1, steps + 1):
            assert gradient is not None and top_gradient is not None
            a = MOMENTUM if step > 1 else 1.0
            z = ball.project(now + size.view(each) * gradient.sign())
            then = ball.project(now + a * (z - now) + (1 - a) * (now - before))
            made = asked(then, y)
            assert made.gradient is not None
            best.offer(then, made)
            rises = rises + (made.loss > f)
            higher = made.loss > top_f
            top = torch.where(higher.view(each), then, top)
            top_gradient = torch.where(higher.view(each), made.gradient, top_gradient)
            top_f = torch.where(higher, made.loss, top_f)
            before, now, f, gradient = now, then, made.loss, made.gradient
            if step in judged:
                few = rises <= RISING * (step - last)
                halve = few | (~halved & (last_f >= top_f))
                size = torch.where(halve, size / 2, size)
                now = torch.where(halve.view(each), top, now)
                gradient = torch.where(halve.view(each), top_gradient, gradient)
                f = torch.where(halve, top_f, f)
                last_f, halved, rises, last = top_f, halve, torch.zeros_like(f), step
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

"""The Square attack (Andriushchenko et al. 2020, l-infinity) on averages over K draws.

No gradient: windows of +-epsilon are tried at random places, and kept where fewer draws are right
or, of as many, the averaged margin falls. A window is a square of an image, an interval of a sound.

Of a random network the best point so far is asked again beside every new one, under the same K
draws. Its own estimate is the luckiest of many: held against that, nothing would be accepted soon.
"""

import math

import torch
from torch import Tensor

from ..randomness import signs
from .attack import Attack
from .expectation import Estimate, Expectation, margin
from .numbers import positive
from .search import Ball, Best, searching

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries


def share(step: int, steps: int, first: float) -> float:
    """The share of positions that the window of a step covers."""
    at = int(step / steps * 10_000)
    return first / (1 << sum(at > query for query in _HALVINGS))


def square(
    *,
    epsilon: float,
    unit: float,
    steps: int = 1000,
    p: float = 0.8,
    draws: int = 20,
    average: str = "loss",
    restarts: int = 1,
) -> Attack:
    """steps: how many windows are tried, each at the price of K forwards, on a random network of
    2 K; p: the first's share. Inputs [B, F] have windows like a sound's, [B, 1, F]."""
    positive("attack.square.p", p)

    def search(asked: Expectation, ball: Ball, y: Tensor) -> Best:
        radius = ball.radius
        x = ball.x if ball.x.ndim > 2 else ball.x.unsqueeze(1)
        stripes = (*x.shape[:2], *[1] * (x.ndim - 3), x.shape[-1])
        first = radius * signs(x.new_empty(stripes)).expand_as(x)
        now = ball.project(ball.x + first.view(ball.x.shape))
        best = Best(ball.x).offer(now, asked(now, y, gradient=False))
        for step in range(steps):
            inside = windows(x, share(step, steps, p))
            change = 2 * radius * signs(x.new_empty(*x.shape[:2], *[1] * (x.ndim - 2)))
            then = ball.project(best.x + (change * inside).view(ball.x.shape))
            if asked.random:
                held, made = _side_by_side(asked, best.x, then, y)
                best = Best(best.x).offer(best.x, held)
            else:
                made = asked(then, y, gradient=False)
            best.offer(then, made)
        return best

    return searching(
        "square",
        search,
        margin,
        epsilon=epsilon,
        unit=unit,
        steps=steps,
        step_size=2 * epsilon * unit,
        draws=draws,
        average=average,
        restarts=restarts,
        p=p,
    )


def _side_by_side(
    asked: Expectation, one: Tensor, other: Tensor, y: Tensor
) -> tuple[Estimate, Estimate]:
    both = asked(torch.cat([one, other]), y.repeat(2), gradient=False)
    first, second = map(Estimate, both.loss.chunk(2), both.right.chunk(2))
    return first, second


def windows(x: Tensor, covered: float) -> Tensor:
    """[B, 1, ...] of 0 and 1: for each example a window at a uniformly random place."""
    sizes = x.shape[2:]
    side = round((covered * math.prod(sizes)) ** (1 / len(sizes)))
    mask = torch.ones((len(x), 1, *[1] * len(sizes)), device=x.device, dtype=x.dtype)
    for axis, size in enumerate(sizes):
        length = min(max(side, 1), size)
        first = torch.randint(size - length + 1, (len(x), 1), device=x.device)
        place = torch.arange(size, device=x.device)
        hit = (place >= first) & (place < first + length)
        shape = [len(x), 1, *[1] * len(sizes)]
        shape[2 + axis] = size
        mask = mask * hit.view(shape)
    return mask

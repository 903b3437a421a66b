"""PGD whose every step follows an average over K draws (expectation over transformation)."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from ..errors import UsageError
from .attack import Attack, step_count
from .expectation import Expectation, cross_entropy
from .numbers import positive
from .search import Ball, Best, searching

KEEP = ("best", "last")


def eot_pgd(
    *,
    epsilon: float,
    unit: float,
    step_size: float = 1,
    steps: int | None = None,
    steps_round: str = "floor",
    level: float = 1,
    draws: int = 20,
    average: str = "gradient",
    restarts: int = 1,
    keep: str = "best",
) -> Attack:
    """Eq. 2 from a uniform start; steps as in `pgd`.

    keep  the best point on the way, by the average over draws, or, as the paper does, the last.
    With keep=last and one restart on a deterministic network this is Foolbox's PGD.
    """
    count = step_count(epsilon, steps, steps_round, positive("attack.eot_pgd.level", level))
    step = positive("attack.eot_pgd.step_size", step_size) * unit
    if keep not in KEEP:
        raise UsageError(f"attack.eot_pgd.keep must be one of {', '.join(KEEP)}, got {keep!r}")

    last = keep == "last" and restarts == 1  # nothing to compare it with

    def step_checkpointed(
        asked: Expectation, ball: Ball, y: Tensor, step_checkpoints: Sequence[int]
    ) -> Iterator[Best]:
        now, best = ball.start(), Best(ball.x)
        for done in range(step_checkpoints[-1] + 1):
            end = done == step_checkpoints[-1]
            if last and done in step_checkpoints:
                best.x = now
                yield best
            if last and end:
                return
            made = asked(now, y, gradient=not end)
            if keep == "best" or end:
                best.offer(now, made)
            if done in step_checkpoints and not last:
                yield best
            if made.gradient is not None:
                now = ball.project(now + step * made.gradient.sign())

    def search(asked: Expectation, ball: Ball, y: Tensor) -> Best:
        return next(step_checkpointed(asked, ball, y, (count,)))

    return searching(
        "eot_pgd",
        search,
        cross_entropy,
        epsilon=epsilon,
        unit=unit,
        steps=count,
        step_size=step,
        draws=draws,
        average=average,
        restarts=restarts,
        step_checkpointed=step_checkpointed,
        keep=keep,
    )

"""The attacks of an audit, by the name that the checks know them by."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from ..attacks import Attack
from ..attacks.amplitudes import climb
from ..attacks.expectation import Expectation, margin
from ..attacks.in_units import apgd, eot_pgd, square
from ..attacks.search import Ball, Best, searching
from ..randomness import signs
from .target import AuditTarget, Budget

WHITE = ("fgsm", "pgd", "eot", "apgd_ce", "apgd_dlr", "steps", "draws", "restarts")
"""White-box attacks at epsilon, by gradients of the very network."""


def attack_suite(of: AuditTarget, budget: Budget) -> dict[str, Attack]:
    """The attacks by the name that the checks know them by."""
    b = budget
    scale: dict[str, Any] = {"epsilon": b.epsilon, "unit": of.unit}
    half = (of.bounds[1] - of.bounds[0]) / 2 / of.unit
    size = 2.5 * b.epsilon / b.steps  # Madry et al. 2017: far enough to reach any corner
    pgd_steps: dict[str, Any] = {"steps": b.steps, "step_size": size, "keep": "last"}
    strong: dict[str, Any] = {"steps": b.steps, "draws": b.draws, "restarts": b.restarts}
    made = {
        "zero": apgd(epsilon=0, unit=of.unit, steps=2, draws=b.draws),
        "noise": noise(**scale, steps=b.queries, draws=b.draws),
        "fgsm": climb("fgsm", b.epsilon, 1, b.epsilon * of.unit, random_start=False, unit=of.unit),
        "pgd": eot_pgd(**scale, **pgd_steps, draws=1),
        "eot": eot_pgd(**scale, **pgd_steps, draws=b.draws),
        "apgd_ce": apgd(**scale, **strong),
        "apgd_dlr": apgd(**scale, **strong, loss="dlr"),
        "square": square(**scale, steps=b.queries, draws=b.draws),
        "steps": apgd(**scale, **strong | {"steps": 2 * b.steps}),
        "restarts": apgd(**scale, **strong | {"restarts": 2 * b.restarts}),
        "double": eot_pgd(
            **{**scale, "epsilon": 2 * b.epsilon},
            **pgd_steps | {"step_size": 2 * size},
            draws=b.draws,
        ),
        "large": apgd(epsilon=half, unit=of.unit, **strong),
    }
    if of.classes < 3:
        del made["apgd_dlr"]
    if of.random:
        made["draws"] = apgd(**scale, **strong | {"draws": 2 * b.draws})
    if of.sketched:
        made["omniscient"] = replace(made["apgd_ce"], knowledge="omniscient")
    if of.surrogate_model is not None:
        made["transfer"] = replace(made["apgd_ce"], knowledge="blackbox")
    return made


def noise(*, epsilon: float, unit: float, steps: int, draws: int) -> Attack:
    """The best of `steps` corners of the ball, drawn at random: no gradient, no memory."""

    def search(asked: Expectation, ball: Ball, y: Tensor) -> Best:
        best = Best(ball.x)
        for _ in range(steps):
            at = ball.project(ball.x + ball.radius * signs(ball.x))
            best.offer(at, asked(at, y, gradient=False))
        return best

    return searching(
        *("noise", search, margin),
        epsilon=epsilon,
        unit=unit,
        steps=steps,
        step_size=epsilon * unit,
        draws=draws,
        average="loss",
        restarts=1,
    )

"""Made-up rows of an attack's surface over steps and draws, for tests of reports."""

import numpy as np

from defensive_tensorization.report.surface import DRAWS, STEPS
from defensive_tensorization.results.row import Row
from defensive_tensorization.results.scores import Answers
from helpers.fake_rows import row

PLACES = frozenset(f"{steps}-{draws}" for steps in STEPS for draws in DRAWS)
N = 40


def cell(steps: int, draws: int, right: int, **changes: object) -> Row:
    """A row in which the first `right` of N images survive every one of thirty draws."""
    held = np.arange(N) < right
    made = Answers(30 * held.astype(int), held, held, np.array([right] * 30))
    correct, votes, by_draw = made.encoded()
    fields: dict[str, object] = {
        "attack": "eot_pgd",
        "epsilon": 2.0,
        "steps": steps,
        "options": f"average=loss draws={draws} restarts=1 keep=best",
        "n": N,
        "scored": 30,
        "correct": correct,
        "votes": votes,
        "by_draw": by_draw,
        "robust_accuracy": made.accuracy,
        "protocol": f"{steps}-{draws}",
    }
    return row(**(fields | changes))


def grid(right: dict[tuple[int, int], int] | None = None, otherwise: int = 10) -> list[Row]:
    return [cell(s, k, (right or {}).get((s, k), otherwise)) for s in STEPS for k in DRAWS]

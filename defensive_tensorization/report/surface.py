"""Robust accuracy over steps x draws: whether an attack that averages has converged.

A headline is a claim about the strongest attack, so it is refused until neither more steps nor more
draws lower it (`convergence_failure`).
"""

from collections.abc import Iterable, Mapping, Sequence

from defensive_tensorization.report.caption import Facts
from defensive_tensorization.report.formats import Record
from defensive_tensorization.report.selection import Column, one_training
from defensive_tensorization.report.template import fill
from defensive_tensorization.results.row import Row
from defensive_tensorization.results.scores import Answers, Interval, difference, interval

STEPS = (10, 20, 50, 100, 200)
DRAWS = (1, 5, 10, 20, 50)
ATTACK = "eot_pgd"
ABOUT = (
    "Robust accuracy in %, mean over fresh draws with its 95% interval over images and draws, "
    "under EOT-PGD of so many steps that averages over K draws; where nothing is random one line "
    "stands for every K."
)

Surface = Mapping[tuple[int, int], Sequence[Answers]]
"""(steps, draws) to what every image got, one entry an evaluation seed."""


def answers(row: Row) -> Answers:
    return Answers.decoded(row.correct, row.votes, row.by_draw)


def surface(rows: Iterable[Row], column: Column, epsilon: float) -> Surface:
    """What there is of a network's surface at one epsilon."""
    found: dict[tuple[int, int], list[Answers]] = {}
    for row in surface_rows(rows, column, epsilon):
        for draws in (row.averaged,) if row.random else DRAWS:
            found.setdefault((row.steps, draws), []).append(answers(row))
    return found


def surface_rows(rows: Iterable[Row], column: Column, epsilon: float) -> list[Row]:
    """By evaluation seed; UsageError where they are of two trainings. Where nothing is random a row
    stands for every K."""
    at = (ATTACK, epsilon)
    mine = [r for r in rows if column.takes(r) and (r.attack, r.epsilon) == at and r.correct]
    one_training(mine, f"{column.label}'s surface at epsilon {epsilon:g}")
    return sorted(mine, key=lambda row: row.eval_seed)


def shown_draws(rows: Sequence[Row], column: Column, epsilon: float) -> dict[int, str]:
    """K, and how it is called: one for all where nothing is random."""
    if any(row.random for row in surface_rows(rows, column, epsilon)):
        return {k: f"K = {k}" for k in DRAWS}
    return {DRAWS[0]: "any K"}


def whole(found: Surface) -> bool:
    return all((steps, draws) in found for steps in STEPS for draws in DRAWS)


LEVEL = 0.9
"""Of the intervals that say whether something falls: 5% of error on the one side that is asked."""


def edges(found: Surface) -> dict[str, Interval]:
    """What the last doubling of the steps, and the last raise of the draws, change."""
    last = found[STEPS[-1], DRAWS[-1]]
    before, beside = found[STEPS[-2], DRAWS[-1]], found[STEPS[-1], DRAWS[-2]]
    return {
        f"from {STEPS[-2]} to {STEPS[-1]} steps": _fall(last, before),
        f"from {DRAWS[-2]} to {DRAWS[-1]} draws": _fall(last, beside),
    }


def _fall(to: Sequence[Answers], of: Sequence[Answers]) -> Interval:
    """To minus of; no images added, which would hide one."""
    return difference(to, of, level=LEVEL, more=0)


def convergence_failure(found: Surface, headline: Sequence[Answers] | None = None) -> str:
    """Why a headline (None: the surface's own) is refused, in words; "" where it is not.

    It needs every cell, no edge that falls, and an attack that leaves no more than the surface's
    last cell does; each beyond noise, one-sided at 5% each, paired over images, the headline's
    first ones against the surface's. Where nothing is left, nothing can fall.
    """
    if headline and interval(headline).estimate == 0:
        return ""
    if not whole(found):
        there = sum((steps, draws) in found for steps in STEPS for draws in DRAWS)
        return f"{there} of {len(STEPS) * len(DRAWS)} cells of its surface are run"
    for what, change in edges(found).items():
        if change.high < 0:
            return f"its surface still falls by {percent(-change.estimate)} points {what}"
    if headline:
        most = found[STEPS[-1], DRAWS[-1]]
        images = min(len(most[0].correct), len(headline[0].correct))
        last, here = ([each.head(images) for each in of] for of in (most, headline))
        if _fall(last, here).high < 0:
            return (
                f"on its first {images} images it is {shown(interval(here))}, and its surface "
                f"comes down to {shown(interval(last))}"
            )
    return ""


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def shown(found: Interval) -> str:
    """ "34.0 [27.9, 40.7]", in percent."""
    return f"{percent(found.estimate)} [{percent(found.low)}, {percent(found.high)}]"


def markdown(title: str, columns: Sequence[Column], rows: Sequence[Row], about: Facts) -> str:
    """A table of steps x draws for each method and epsilon, and whether it has settled."""
    surfaces: list[dict[str, object]] = []
    for column in columns:
        epsilons = epsilons_of(rows, column)
        surfaces += [_settled(rows, column, epsilon) for epsilon in epsilons]
        if not epsilons:
            surfaces.append({"title": column.label, "grid": []})
    return fill("surface.md", title=title, measured=ABOUT, surfaces=surfaces, facts=about)


def _settled(rows: Sequence[Row], column: Column, epsilon: float) -> dict[str, object]:
    found, ks = surface(rows, column, epsilon), shown_draws(rows, column, epsilon)
    lines = [["steps", *ks.values()]]
    for s in STEPS:
        cells = (found.get((s, k)) for k in ks)
        lines.append([str(s), *(shown(interval(c)) if c else "—" for c in cells)])
    changes = edges(found) if whole(found) else {}
    return {
        "title": f"{column.label}, ε = {epsilon:g}",
        "grid": lines,
        "falls": convergence_failure(found),
        "changes": [
            f"{what} {shown(change)}"
            for what, change in changes.items()
            if len(ks) > 1 or "steps" in what
        ],
    }


def records(columns: Sequence[Column], rows: Sequence[Row]) -> list[Record]:
    """One record a cell that there is, in percent."""
    found: list[Record] = []
    for column in columns:
        for epsilon in epsilons_of(rows, column):
            for (steps, draws), each in sorted(surface(rows, column, epsilon).items()):
                i = interval(each)
                found.append(
                    {
                        "method": column.label,
                        "epsilon": epsilon,
                        "steps": steps,
                        "draws": draws,
                        "value": round(100 * i.estimate, 4),
                        "low": round(100 * i.low, 4),
                        "high": round(100 * i.high, 4),
                    }
                )
    return found


def epsilons_of(rows: Iterable[Row], column: Column) -> list[float]:
    """Those at which there is anything of a network's surface."""
    return sorted({r.epsilon for r in rows if r.attack == ATTACK and column.takes(r)})

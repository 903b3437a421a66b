"""Robust accuracy over steps x draws: whether an attack that averages has converged.

A headline is a claim about the strongest attack, so it waits until neither more steps nor more
draws lower it (`unsettled`).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from defensive_tensorization.report.caption import Facts
from defensive_tensorization.report.formats import Record
from defensive_tensorization.report.selection import Column
from defensive_tensorization.results import Row
from defensive_tensorization.scores import Answers, Interval, difference, interval

STEPS = (10, 20, 50, 100, 200)
DRAWS = (1, 5, 10, 20, 50)
ATTACK = "eot_pgd"
ABOUT = (
    "Robust accuracy in %, mean over fresh draws with its 95% interval over images and draws, "
    "under EOT-PGD of so many steps that averages over K draws."
)

Surface = Mapping[tuple[int, int], Sequence[Answers]]
"""(steps, draws) to what every image got, one entry an evaluation seed."""


def settings(row: Row) -> dict[str, str]:
    """A row's further settings by name; none of an attack on single draws."""
    return dict(part.split("=", 1) for part in row.options.split())


def answers(row: Row) -> Answers:
    return Answers.decoded(row.correct, row.votes, row.by_draw)


def averages(row: Row) -> bool:
    """Whether the row's attack averages over draws."""
    return "draws" in settings(row)


def surface(rows: Iterable[Row], column: Column, epsilon: float) -> Surface:
    """What there is of a network at one epsilon; the commonest kind of rows where kinds differ."""
    mine = [
        row
        for row in rows
        if (row.recipe, row.sketch) == (column.recipe, column.sketch)
        and (row.attack, row.epsilon, row.knowledge) == (ATTACK, epsilon, "fresh")
        and row.correct
        and row.steps in STEPS
    ]
    kind = _commonest(map(_kind, mine))
    found: dict[tuple[int, int], dict[int, Answers]] = {}
    for row in mine:
        if _kind(row) == kind:
            for draws in _draws(row):
                found.setdefault((row.steps, draws), {})[row.eval_seed] = answers(row)
    return {place: list(seeds.values()) for place, seeds in found.items()}


def _draws(row: Row) -> Sequence[int]:
    """The surface's K that a row stands for: all, where nothing is random."""
    own = int(settings(row)["draws"])
    return DRAWS if row.draws.startswith("none: ") else tuple({own} & set(DRAWS))


def unsettled(found: Surface, headline: Interval) -> str:
    """Why a headline must wait, in words; "" where it need not.

    It needs every cell, a fall from neither half the steps nor fewer draws to the most of both
    that exceeds its 95% interval (images paired), and attacks at least as strong as the surface's.
    Where nothing is left, nothing can fall.
    """
    if headline.high == 0 or headline.estimate == 0:
        return ""
    if len(found) < len(STEPS) * len(DRAWS):
        return f"{len(found)} of {len(STEPS) * len(DRAWS)} cells of its surface are run"
    most = (STEPS[-1], DRAWS[-1])
    for before, what in (
        ((STEPS[-2], DRAWS[-1]), f"from {STEPS[-2]} to {STEPS[-1]} steps"),
        ((STEPS[-1], DRAWS[-2]), f"from {DRAWS[-2]} to {DRAWS[-1]} draws"),
    ):
        change = difference(found[most], found[before])
        if change.high < 0:
            return f"it still falls by {percent(-change.estimate)} points {what}"
    there = interval(found[most])
    if headline.low > there.high:
        return f"its surface comes down to {shown(there)}"
    return ""


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def shown(found: Interval) -> str:
    """ "34.0 [27.9, 40.7]", in percent."""
    return f"{percent(found.estimate)} [{percent(found.low)}, {percent(found.high)}]"


def markdown(title: str, columns: Sequence[Column], rows: Sequence[Row], about: Facts) -> str:
    """A table of steps x draws for each method and epsilon, and whether it has settled."""
    parts = [f"# {title}", "", ABOUT, ""]
    for column in columns:
        epsilons = sorted({r.epsilon for r in rows if column.takes(r)})
        for epsilon in epsilons:
            found = surface(rows, column, epsilon)
            parts += [f"## {column.label}, ε = {epsilon:g}", ""]
            parts += ["| steps | " + " | ".join(f"K = {k}" for k in DRAWS) + " |"]
            parts += ["|---:" * (len(DRAWS) + 1) + "|"]
            for s in STEPS:
                cells = (found.get((s, k)) for k in DRAWS)
                texts = (shown(interval(c)) if c else "—" for c in cells)
                parts.append(f"| {s} | {' | '.join(texts)} |")
            most = found.get((STEPS[-1], DRAWS[-1]))
            open_ = (
                unsettled(found, interval(most)) if most else unsettled(found, Interval(1, 1, 1))
            )
            parts += ["", f"Not settled: {open_}." if open_ else "Settled.", ""]
        if not epsilons:
            parts += [f"## {column.label}", "", "No rows yet.", ""]
    parts += [*(f"- {topic}: {text}" for topic, text in about), ""]
    return "\n".join(parts)


def records(columns: Sequence[Column], rows: Sequence[Row]) -> list[Record]:
    """One record a cell that there is, in percent."""
    found: list[Record] = []
    for column in columns:
        for epsilon in sorted({r.epsilon for r in rows if column.takes(r)}):
            for (steps, draws), each in sorted(surface(rows, column, epsilon).items()):
                i = interval(each)
                found.append(
                    {
                        "method": column.label,
                        "epsilon": epsilon,
                        "steps": steps,
                        "draws": draws,
                        "value": round(100 * i.estimate, 2),
                        "low": round(100 * i.low, 2),
                        "high": round(100 * i.high, 2),
                    }
                )
    return found


def figure(rows: Sequence[Row], columns: Sequence[Column], path: Path, *, title: str) -> Path:
    """Writes a PNG: a panel a method and epsilon, robust accuracy against steps, a line a K."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from defensive_tensorization.report.figures import STYLES

    caption = ABOUT
    panels = [
        (column, epsilon)
        for column in columns
        for epsilon in sorted({r.epsilon for r in rows if column.takes(r)})
    ]
    drawn, grid = pyplot.subplots(
        1,
        max(1, len(panels)),
        figsize=(max(5.5, 3.4 * len(panels)), 4.4),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axis, (column, epsilon) in zip(grid[0], panels, strict=False):
        found = surface(rows, column, epsilon)
        for k, (colour, marker, dash) in zip(DRAWS, STYLES, strict=False):
            steps = [s for s in STEPS if (s, k) in found]
            each = [interval(found[s, k]) for s in steps]
            axis.errorbar(
                steps,
                [100 * i.estimate for i in each],
                [
                    [100 * (i.estimate - i.low) for i in each],
                    [100 * (i.high - i.estimate) for i in each],
                ],
                color=colour,
                marker=marker,
                linestyle=dash,
                markersize=5,
                linewidth=1.4,
                elinewidth=0.6,
                label=f"K = {k}",
            )
        axis.set_xscale("log")
        axis.set_xticks(STEPS, [str(s) for s in STEPS])
        axis.minorticks_off()
        axis.set_title(f"{column.label}, ε = {epsilon:g}", fontsize=10)
        axis.set_xlabel("steps")
        axis.set_ylim(0, 100)
        axis.grid(alpha=0.3)
    grid[0][0].set_ylabel("robust accuracy (%)")
    if panels:
        handles, labels = grid[0][0].get_legend_handles_labels()
        drawn.legend(
            handles, labels, title=title, loc="outside upper center", ncols=5, frameon=False
        )
    drawn.supxlabel(caption, x=0.01, ha="left", fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(
        path, dpi=150, metadata={"Title": title, "Description": caption, "Software": None}
    )
    pyplot.close(drawn)
    return path


def _kind(row: Row) -> tuple[object, ...]:
    """What every cell of a surface has in common."""
    others = {key: value for key, value in settings(row).items() if key != "draws"}
    return row.n, row.step_size, *sorted(others.items())


def _commonest(kinds: Iterable[tuple[object, ...]]) -> tuple[object, ...]:
    counted = list(kinds)
    return max(set(counted), key=counted.count, default=())

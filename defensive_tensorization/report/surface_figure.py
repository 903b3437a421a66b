"""The picture of surfaces: robust accuracy against steps, on one printed page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defensive_tensorization.report.caption import measured
from defensive_tensorization.report.figures import STYLES, saved
from defensive_tensorization.report.selection import Column
from defensive_tensorization.report.surface import (
    ABOUT,
    ATTACK,
    STEPS,
    Surface,
    epsilons_of,
    shown_draws,
    surface,
    surface_rows,
)
from defensive_tensorization.report.wrapping import PAGE, wrapped
from defensive_tensorization.results.row import Row
from defensive_tensorization.results.scores import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 3  # panels of random networks in a row
APART = 1.06  # factor between two lines' places on the axis of steps, so that their bars are apart

Line = tuple[str, dict[int, tuple[float, float, float]]]
"""What a line is called, and by steps its estimate and the two ends of its interval, in percent."""


def figure(rows: Sequence[Row], columns: Sequence[Column], path: Path, *, title: str) -> Path:
    """Write a PNG: a panel for a random network and epsilon, a line a K.

    Networks without randomness have one line each, so they share a panel an epsilon.
    """
    from defensive_tensorization.report.agg import pyplot

    grids = [(random_panels(rows, columns), ACROSS, "Networks of random kernels, K draws a step")]
    for group in fixed_panels(rows, columns):
        grids.append((group, 2, "Networks in which nothing is random"))
    grids = [each for each in grids if each[0]]
    about = f"{ABOUT}\n{measured([row for row in rows if row.attack == ATTACK] or rows)}"
    under = wrapped(about, 0.98 * PAGE, 8)
    heights = [_height(panels, across) for panels, across, _ in grids]
    with pyplot.rc_context({"font.size": 8}):
        drawn = pyplot.figure(
            figsize=(PAGE, 0.5 + sum(heights or [2.0]) + 0.14 * under.count("\n")),
            layout="constrained",
        )
        drawn.suptitle(title, fontsize=10)
        parts: Any = drawn.subfigures(
            *(max(1, len(heights)), 1), squeeze=False, height_ratios=heights or None
        )
        for part, (panels, across, heading) in zip(parts.flat, grids, strict=False):
            _grid(part, panels, across, heading)
        return saved(drawn, path, title, about, under)


def random_panels(rows: Sequence[Row], columns: Sequence[Column]) -> list[tuple[str, list[Line]]]:
    """By heading, a line a K; the heading names every K that has no rows."""
    made = []
    for column in columns:
        for epsilon in epsilons_of(rows, column):
            if any(row.random for row in surface_rows(rows, column, epsilon)):
                found = surface(rows, column, epsilon)
                ks = shown_draws(rows, column, epsilon)
                lines = [(of, _line(found, k)) for k, of in ks.items()]
                lacks = [f"{k}" for k, (_, line) in zip(ks, lines, strict=True) if not line]
                told = f"; no rows of K = {', '.join(lacks)}" if lacks else ""
                made.append((f"{column.label}\nε = {epsilon:g}{told}", lines))
    return made


def fixed_panels(
    rows: Sequence[Row], columns: Sequence[Column]
) -> list[list[tuple[str, list[Line]]]]:
    """By heading, a line a network, in groups of no more networks than there are styles: each has a
    legend of its own."""
    by_epsilon: dict[float, dict[str, Line]] = {}
    for column in columns:
        for epsilon in epsilons_of(rows, column):
            if not any(row.random for row in surface_rows(rows, column, epsilon)):
                k = next(iter(shown_draws(rows, column, epsilon)))
                line = _line(surface(rows, column, epsilon), k)
                by_epsilon.setdefault(epsilon, {})[column.label] = column.label, line
    known = set().union(*by_epsilon.values())
    labels = [column.label for column in columns if column.label in known]
    groups = [labels[i : i + len(STYLES)] for i in range(0, len(labels), len(STYLES))]
    return [
        [
            _fixed_panel(epsilon, [lines.get(label, (label, {})) for label in group])
            for epsilon, lines in sorted(by_epsilon.items())
            if any(label in lines for label in group)
        ]
        for group in groups
    ]


def _fixed_panel(epsilon: float, lines: list[Line]) -> tuple[str, list[Line]]:
    """Every line has its place, and so its style, in each panel of a group."""
    lacks = [label for label, line in lines if not line]
    told = f"; no rows of: {', '.join(lacks)}" if lacks else ""
    return wrapped(f"ε = {epsilon:g}{told}", 0.4 * PAGE, 8), lines


def _height(panels: Sequence[tuple[str, list[Line]]], across: int) -> float:
    """Inches: of the legend and the rows of panels."""
    if across == ACROSS:
        return 0.7 + 1.8 * -(-len(panels) // ACROSS)
    lines = max(len(each) for _, each in panels)
    return 0.6 + 0.19 * -(-lines // 2) + 2.1 * -(-len(panels) // across)


def _line(found: Surface, k: int) -> dict[int, tuple[float, float, float]]:
    of = {s: interval(found[s, k]) for s in STEPS if (s, k) in found}
    return {s: (100 * i.estimate, 100 * i.low, 100 * i.high) for s, i in of.items()}


def _grid(part: Any, panels: Sequence[tuple[str, list[Line]]], across: int, title: str) -> None:
    wide = min(across, len(panels))
    grid = part.subplots(-(-len(panels) // wide), wide, sharey=True, squeeze=False)
    for axis in grid.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (heading, lines) in zip(grid.flat, panels, strict=False):
        _panel(axis, heading, lines)
    for line in grid:
        line[0].set_ylabel("robust accuracy (%)")
    drawn = {
        label: handle
        for axis in grid.flat
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    places = {label: i for _, lines in panels for i, (label, _) in enumerate(lines)}
    labels = sorted(drawn, key=lambda label: places[label])
    wordy = any(len(label) > 12 for label in labels)
    part.legend(
        [drawn[label] for label in labels],
        labels,
        title=title,
        loc="outside upper center",
        ncols=2 if wordy else 5,
        frameon=False,
        handlelength=3,
    )


def _panel(axis: "Axes", heading: str, lines: Sequence[Line]) -> None:
    for i, ((label, line), (colour, marker, dash)) in enumerate(zip(lines, STYLES, strict=False)):
        if not line:
            continue
        place = APART ** (i - (len(lines) - 1) / 2)
        axis.errorbar(
            [steps * place for steps in line],
            [mean for mean, _, _ in line.values()],
            [
                [mean - low for mean, low, _ in line.values()],
                [high - mean for mean, _, high in line.values()],
            ],
            color=colour,
            marker=marker,
            linestyle=dash,
            markersize=3.5,
            linewidth=1.1,
            elinewidth=0.6,
            label=label,
        )
    axis.set_xscale("log")
    axis.set_xticks(STEPS, [str(s) for s in STEPS])
    axis.minorticks_off()
    axis.set_title(heading, fontsize=8)
    axis.set_xlabel("steps")
    axis.set_ylim(-2, 100)
    axis.grid(alpha=0.3)

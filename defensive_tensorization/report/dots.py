"""Robust accuracies of many methods: a line of the picture a method, one panel an attack."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from defensive_tensorization.report.attack_names import STOPS, shown
from defensive_tensorization.report.caption import unit
from defensive_tensorization.report.figure_caption import caption, panels
from defensive_tensorization.report.figures import STYLES, saved
from defensive_tensorization.report.published import Key
from defensive_tensorization.report.selection import Column, cell, select
from defensive_tensorization.report.wrapping import PAGE, wrapped
from defensive_tensorization.results.row import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = list[tuple[int, float, float]]
"""(place of the method, accuracy, ± one std), in percent."""


def dots(
    rows: Iterable[Row],
    columns: Sequence[Column],
    attacks: Sequence[str],
    path: Path,
    *,
    title: str,
    data: str | None = None,
    published: Mapping[Key, float] | None = None,
    copied: str = "",
) -> Path:
    """Write a PNG: mean over evaluation seeds ± one std, a mark an epsilon, hollow where published.

    Lines against epsilon lie on each other where there are many methods. `copied` says which of the
    published values are of another network. Selects rows as `tables.render` does.
    """
    from defensive_tensorization.report.agg import pyplot

    chosen = select(rows, columns, data=data)
    chosen = [row for row in chosen if row.attack in (*attacks, "clean")]
    shown = panels(attacks, chosen)
    epsilons = sorted({0.0, *(row.epsilon for row in chosen)})
    if len(epsilons) > len(STYLES):
        raise ValueError(f"at most {len(STYLES)} epsilons in one figure, got {len(epsilons)}")
    hollow = "Hollow marks: published" + (f" ({copied})" if copied else "")
    marks = "Marks: mean ± one std over evaluation seeds"
    if any(column.paper in {key[2] for key in published or {}} for column in columns):
        marks = f"{hollow}. {marks}"
    text = caption(columns, attacks, chosen, marks)
    under = wrapped(text, 0.98 * PAGE, 8)
    high = 0.7 + 0.3 * len(columns)
    with pyplot.rc_context({"font.size": 9}):
        figure, grid = pyplot.subplots(
            *(len(shown), max(map(len, shown))),
            figsize=(PAGE, 0.9 + high * len(shown) + 0.14 * under.count("\n")),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for axes, names in zip(grid, shown, strict=True):
            for axis, attack in zip(axes, names, strict=False):
                _panel(axis, chosen, columns, attack, epsilons, published or {})
            for axis in axes[len(names) :]:
                axis.set_axis_off()
        of = f" ({unit(chosen)})" if unit(chosen) else ""
        figure.legend(
            *grid[0][0].get_legend_handles_labels(),
            title=f"{title}, by ε{of}",
            title_fontsize=10,
            loc="outside upper center",
            ncols=len(epsilons),
            frameon=False,
        )
        return saved(figure, path, title, text, under)


def _panel(
    axis: "Axes",
    rows: Sequence[Row],
    columns: Sequence[Column],
    attack: str,
    epsilons: Sequence[float],
    published: Mapping[Key, float],
) -> None:
    for i, (epsilon, (colour, marker, _)) in enumerate(zip(epsilons, STYLES, strict=False)):
        lower = 0.6 * ((i + 0.5) / len(epsilons) - 0.5)  # an epsilon's marks stand on its own line
        of = attack if epsilon else "clean"
        points = means(rows, columns, of, epsilon)
        axis.errorbar(
            [mean for _, mean, _ in points],
            [place + lower for place, _, _ in points],
            xerr=[std for *_, std in points],
            color=colour,
            marker=marker,
            linestyle="none",
            markersize=4,
            elinewidth=1,
            label=f"{epsilon:g}" if epsilon else "no attack",
        )
        printed = [
            (published[key], place + lower)
            for place, column in enumerate(columns)
            if (key := (of.removeprefix(STOPS), epsilon, column.paper)) in published
        ]
        axis.plot(
            [value for value, _ in printed],
            [place for _, place in printed],
            color=colour,
            marker=marker,
            linestyle="none",
            markersize=6.5,
            markerfacecolor="none",
            label="_published",
        )
    for between in range(1, len(columns)):
        axis.axhline(between - 0.5, color="#cccccc", linewidth=0.6)
    axis.set_yticks(range(len(columns)), [column.label for column in columns])
    axis.set_ylim(len(columns) - 0.5, -0.5)
    axis.set_xlim(-2, 102)
    axis.set_xlabel("accuracy (%)")
    axis.set_title(shown(attack), fontsize=9)
    axis.grid(axis="x", alpha=0.3)


def means(rows: Sequence[Row], columns: Sequence[Column], attack: str, epsilon: float) -> Points:
    """Of the methods that have rows."""
    found = ((place, cell(rows, column, attack, epsilon)) for place, column in enumerate(columns))
    return [
        (place, 100 * each.robust_mean, 100 * (each.robust_std or 0.0))
        for place, each in found
        if each is not None
    ]

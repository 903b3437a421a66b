"""Robust accuracy against epsilon, one panel an attack."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from defensive_tensorization.report.attack_names import STOPS, shown
from defensive_tensorization.report.caption import unit
from defensive_tensorization.report.figure_caption import caption, panels
from defensive_tensorization.report.published import Key
from defensive_tensorization.report.selection import Column, cell, select
from defensive_tensorization.report.wrapping import PAGE, wrapped
from defensive_tensorization.results.row import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe-Ito colours: distinct in grey and to colour-blind readers, with a marker and a dash each.
STYLES = (
    ("#000000", "o", "-"),
    ("#0072B2", "s", "--"),
    ("#D55E00", "^", "-."),
    ("#009E73", "D", ":"),
    ("#CC79A7", "v", (0, (5, 1, 1, 1, 1, 1))),
    ("#E69F00", "P", (0, (1, 3))),
    ("#56B4E9", "X", (0, (8, 2))),
    ("#999999", "*", (0, (3, 1, 1, 1))),
)


def robust_vs_epsilon(
    rows: Iterable[Row],
    columns: Sequence[Column],
    attacks: Sequence[str],
    path: Path,
    *,
    title: str = "Robust accuracy against ε",
    data: str | None = None,
    published: Mapping[Key, float] | None = None,
) -> Path:
    """Writes a PNG: mean over evaluation seeds, a band of one std; epsilon 0 is clean accuracy.

    Attacks that stop at the first miss have a row of panels of their own, where any has rows.
    Published values, in %, stand as hollow marks. Selects rows as `tables.render` does. The caption
    says how much was not run.
    """
    from defensive_tensorization.report.agg import pyplot

    if len(columns) > len(STYLES):
        raise ValueError(f"at most {len(STYLES)} methods in one figure, got {len(columns)}")
    chosen = select(rows, columns, data=data)
    chosen = [row for row in chosen if row.attack in (*attacks, "clean")]
    shown = panels(attacks, chosen)
    wide = max(map(len, shown))
    width = min(PAGE, max(5.5, 3.6 * wide))
    beside = int(width / (0.7 + 0.07 * max((len(c.label) for c in columns), default=0))) or 1
    lines = "Lines: mean, bands: ± one std over evaluation seeds"
    hollow = any(_paper(columns, attack, published or {}) for row in shown for attack in row)
    text = caption(columns, attacks, chosen, f"Hollow marks: published. {lines}" * hollow or lines)
    under = wrapped(text, 0.98 * width, 8)
    rows_of_text = -(-len(columns) // beside) + under.count("\n")
    with pyplot.rc_context({"font.size": 9}):
        figure, grid = pyplot.subplots(
            *(len(shown), wide),
            figsize=(width, 1 + 2.3 * len(shown) + 0.16 * rows_of_text),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for axes, names in zip(grid, shown, strict=True):
            for axis, attack in zip(axes, names, strict=False):
                _panel(axis, chosen, columns, attack)
                _published(axis, columns, attack, published or {})
            for axis in axes[len(names) :]:
                axis.set_axis_off()
            axes[0].set_ylabel("accuracy (%)")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            title=title,
            title_fontsize=10,
            loc="outside upper center",
            ncols=beside,
            frameon=False,
            handlelength=3.2,
        )
        return saved(figure, path, title, text, under)


def saved(
    figure: "Figure",
    path: Path,
    title: str,
    text: str,
    under: str = "",
    *,
    size: float = 8,
    dpi: int = 200,
) -> Path:
    """Write the picture as PNG, with its title and text in the file.

    Args:
        under: What stands below the picture, in letters of `size` points.
    """
    from defensive_tensorization.report.agg import pyplot

    if under:
        figure.supxlabel(under, x=0.01, ha="left", fontsize=size)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"Title": title, "Description": text, "Software": None}
    figure.savefig(path, dpi=dpi, metadata=about)
    pyplot.close(figure)
    return path


def _panel(axis: "Axes", rows: list[Row], columns: Sequence[Column], attack: str) -> None:
    epsilons = sorted({row.epsilon for row in rows if row.attack == attack})
    for column, (colour, marker, dash) in zip(columns, STYLES, strict=False):
        points = []
        for epsilon in (0.0, *epsilons):
            found = cell(rows, column, attack if epsilon else "clean", epsilon)
            if found is not None:
                spread = found.robust_std or 0.0
                points.append((epsilon, 100 * found.robust_mean, 100 * spread))
        x = [point[0] for point in points]
        low = [mean - std for _, mean, std in points]
        high = [mean + std for _, mean, std in points]
        axis.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        axis.plot(
            x,
            [point[1] for point in points],
            color=colour,
            marker=marker,
            linestyle=dash,
            markersize=4,
            linewidth=1.4,
            label=column.label,
        )
    if not epsilons:
        axis.text(0.5, 0.5, "no rows yet", ha="center", transform=axis.transAxes)
    elif epsilons[-1] > 16 * epsilons[0]:
        axis.set_xscale("symlog", base=2, linthresh=epsilons[0])
    axis.set_xticks([0.0, *epsilons], [f"{epsilon:g}" for epsilon in (0.0, *epsilons)])
    axis.minorticks_off()
    axis.set_title(shown(attack).replace(" ", ",\n", 1), fontsize=9)
    axis.set_xlabel(f"ε ({unit(rows)})" if unit(rows) else "ε")
    axis.set_ylim(0, 100)
    axis.grid(alpha=0.3)


def _published(
    axis: "Axes", columns: Sequence[Column], attack: str, values: Mapping[Key, float]
) -> None:
    """Hollow marks beside the lines."""
    for place, of in _paper(columns, attack, values).items():
        colour, marker, _ = STYLES[place]
        axis.plot(
            list(of),
            list(of.values()),
            color=colour,
            marker=marker,
            linestyle="none",
            markersize=7,
            markerfacecolor="none",
            label="_published",
        )


def _paper(
    columns: Sequence[Column], attack: str, values: Mapping[Key, float]
) -> dict[int, dict[float, float]]:
    """By the place of a method with published values: those values, in %, by epsilon."""
    found = {
        place: {
            epsilon: value
            for (of, epsilon, method), value in values.items()
            if method == column.paper and of in ("clean", attack.removeprefix(STOPS))
        }
        for place, column in enumerate(columns)
        if column.paper
    }
    return {place: of for place, of in found.items() if of}

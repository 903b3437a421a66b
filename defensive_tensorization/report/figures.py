"""Robust accuracy against epsilon, one panel an attack."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from defensive_tensorization.report.caption import facts, unit
from defensive_tensorization.report.published import Key
from defensive_tensorization.report.selection import Column, cell, select
from defensive_tensorization.results.row import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
TOPICS = ("rows", "data", "network", "scored", "evaluation seeds")


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

    Published values, in %, stand as hollow marks. Selects rows as `tables.render` does. What has
    no rows is named under the figure.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if len(columns) > len(STYLES):
        raise ValueError(f"at most {len(STYLES)} methods in one figure, got {len(columns)}")
    chosen = select(rows, columns, data=data)
    chosen = [row for row in chosen if row.attack in (*attacks, "clean")]
    width = max(5.5, 3.6 * len(attacks))
    caption = _caption(columns, attacks, chosen, characters=int(19 * width))
    beside = int(width / (0.8 + 0.076 * max((len(c.label) for c in columns), default=0))) or 1
    legend = -(-len(columns) // beside)  # lines
    figure, grid = pyplot.subplots(
        *(1, len(attacks)),
        figsize=(width, 3.7 + 0.22 * legend),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    hollow = False
    for axis, attack in zip(grid[0], attacks, strict=True):
        _panel(axis, chosen, columns, attack)
        hollow = _published(axis, columns, attack, published or {}) or hollow
    grid[0][0].set_ylabel("accuracy (%)")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        title=title,
        title_fontsize=11,
        loc="outside upper center",
        ncols=beside,
        frameon=False,
        handlelength=3.2,
    )
    caption = f"Hollow marks: published.\n{caption}" if hollow else caption
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"Title": title, "Description": caption.replace("\n", " "), "Software": None}
    figure.savefig(path, dpi=150, metadata=about)
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
            markersize=5,
            linewidth=1.6,
            label=column.label,
        )
    if not epsilons:
        axis.text(0.5, 0.5, "no rows yet", ha="center", transform=axis.transAxes)
    elif epsilons[-1] > 16 * epsilons[0]:
        axis.set_xscale("symlog", base=2, linthresh=epsilons[0])
    axis.set_xticks([0.0, *epsilons], [f"{epsilon:g}" for epsilon in (0.0, *epsilons)])
    axis.minorticks_off()
    axis.set_title(attack.upper(), fontsize=10)
    axis.set_xlabel(f"ε ({unit(rows)})" if unit(rows) else "ε")
    axis.set_ylim(0, 100)
    axis.grid(alpha=0.3)


def _published(
    axis: "Axes", columns: Sequence[Column], attack: str, values: Mapping[Key, float]
) -> bool:
    """Hollow marks beside the lines; whether there is any."""
    shown = False
    for column, (colour, marker, _) in zip(columns, STYLES, strict=False):
        paper = column.paper
        of = {
            epsilon: value
            for (name, epsilon, method), value in values.items()
            if method == paper and name in ("clean", attack)
        }
        if paper and of:
            shown = True
            axis.plot(
                list(of),
                list(of.values()),
                color=colour,
                marker=marker,
                linestyle="none",
                markersize=8,
                markerfacecolor="none",
                label="_published",
            )
    return shown


def _caption(
    columns: Sequence[Column], attacks: Sequence[str], rows: list[Row], characters: int
) -> str:
    parts = [
        f"{topic}: {statement}"
        for topic, statement in facts(columns, rows)
        if topic in TOPICS or topic.endswith(" scale")
    ]
    missing = [
        f"{attack} {epsilon:g} of {column.label}" if epsilon else f"{attack} of {column.label}"
        for attack in ("clean", *attacks)
        for epsilon in sorted({row.epsilon for row in rows if row.attack == attack}) or [0.0]
        for column in columns
        if cell(rows, column, attack, epsilon) is None
    ]
    if missing:
        parts.append(f"missing: {', '.join(missing)}")
    text = f"Lines: mean, bands: ± one std over evaluation seeds; {'; '.join(parts)}."
    return "\n".join(textwrap.wrap(text, width=characters))

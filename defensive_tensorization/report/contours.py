"""Contour lines of the loss around an image, a panel a network, on shared levels."""

from collections.abc import Sequence
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from defensive_tensorization.report.wrapping import wrapped
from defensive_tensorization.results.landscape_panels import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panels = Sequence[tuple[str, Panel | None]]
"""What each place of a figure shows, by label; None where there is no panel yet."""

RED = "#d62728"
SIZE = 11  # points of the caption: a figure of 14 inches is printed half as wide
DECADES = 3  # below the highest loss; what lies deeper has no line


def levels(panels: Sequence[Panel]) -> list[float]:
    """1, 2 and 5 times a power of ten down to 1 (or the highest decade), powers of ten below."""
    high = max((float(panel.loss.max()) for panel in panels), default=0.0)
    low = min((float(panel.loss.min()) for panel in panels), default=0.0)
    if not high > 0:
        return []
    top = floor(log10(high))
    steps = [
        mantissa * 10.0**power
        for power in range(top - DECADES, top + 1)
        for mantissa in ((1, 2, 5) if power >= min(0, top) else (1,))
    ]
    return [float(f"{step:.12g}") for step in steps if low < step < high]


def ball(directions: NDArray[np.floating[Any]], radius: float, points: int = 721) -> NDArray[Any]:
    """[points, 2], where the plane leaves the l-infinity ball of that radius around its image."""
    angle = np.linspace(0, 2 * np.pi, points)
    rays = np.stack([np.cos(angle), np.sin(angle)], 1)  # [points, 2]
    flat = directions.reshape(2, -1).astype(float)
    largest = np.array([np.abs(ray @ flat).max() for ray in rays])
    return rays * (radius / largest)[:, None]


def contours(
    panels: Panels,
    path: Path,
    *,
    title: str,
    caption: str,
    radius: float,
    at: Sequence[float],
    axes: tuple[str, str],
) -> list[Path]:
    """Writes `path` as PNG and as PDF; the same panels give the same bytes.

    radius  of the red circle, in the axes' units; at: the levels; axes: what x and y are.
    """
    from defensive_tensorization.report.agg import pyplot

    width = 3.0 * len(panels) + 2.0
    under = wrapped(caption, 0.98 * width, SIZE)
    with pyplot.rc_context({"pdf.fonttype": 42}):
        figure, grid = pyplot.subplots(
            1,
            1 + len(panels),
            figsize=(width, 3.9 + SIZE / 60 * under.count("\n")),
            width_ratios=[0.4, *(1 for _ in panels)],
            layout="constrained",
        )
        _image(grid[0], next((panel for _, panel in panels if panel), None))
        for axis, (label, panel) in zip(grid[1:], panels, strict=True):
            axis.set_title(label, fontsize=12)
            axis.set_aspect("equal")
            axis.set_xlabel(axes[0], fontsize=10)
            if panel is None:
                axis.set(xticks=[], yticks=[], xlim=(-1, 1), ylim=(-1, 1))
                axis.text(0, 0, "not computed yet", ha="center")
            else:
                _panel(axis, panel, at, radius)
        grid[1].set_ylabel(axes[1], fontsize=10)
        figure.suptitle(title, fontsize=12)
        figure.supxlabel(under, x=0.01, ha="left", fontsize=SIZE)
        path.parent.mkdir(parents=True, exist_ok=True)
        made = [path.with_suffix(".png"), path.with_suffix(".pdf")]
        about = {"Title": title, "Description": caption, "Software": None}
        figure.savefig(made[0], dpi=150, metadata=about)
        figure.savefig(made[1], metadata={"Title": title, "Subject": caption, "CreationDate": None})
        pyplot.close(figure)
    return made


def _places(lines: Any, ticks: NDArray[Any], radius: float) -> list[tuple[float, float]]:
    """One place a line for its number: inside the axes, off the circle, away from the others."""
    found: list[NDArray[Any]] = []
    for path in lines.get_paths():
        at = path.vertices
        room = (np.abs(at) < 0.88 * ticks[-1]).all(1) & (np.hypot(*at.T) > 1.4 * radius)
        if room.any():
            at = at[room]
            taken = np.array([*found, (0.0, 0.0)])
            distance = np.linalg.norm(at[:, None] - taken, axis=2).min(1)
            found.append(at[distance.argmax()])
    return [(float(x), float(y)) for x, y in found]


def _image(axis: "Axes", panel: Panel | None) -> None:
    axis.set_axis_off()
    if panel is not None:
        axis.imshow(np.clip(panel.image, 0, 1).transpose(1, 2, 0).squeeze(), cmap="gray")
        axis.set_title(f"test image {panel.about.image}:\n{panel.about.label}", fontsize=9)


def _panel(axis: "Axes", panel: Panel, at: Sequence[float], radius: float) -> None:
    from matplotlib.patheffects import withStroke

    halo: list[Any] = [withStroke(linewidth=2.2, foreground="white")]
    ticks = panel.ticks
    if at:
        shades = [(grey,) * 3 for grey in np.linspace(1, 0.5, len(at) + 1)]
        if len(at) > 1:
            axis.contourf(ticks, ticks, panel.loss, levels=at, colors=shades, extend="both")
        else:  # matplotlib fills no less than two levels: beyond what there is on either side
            ends = (panel.loss.min() - 1, panel.loss.max() + 1)
            around = sorted({*at, min(*at, ends[0]), max(*at, ends[1])})
            axis.contourf(ticks, ticks, panel.loss, levels=around, colors=shades)
        lines = axis.contour(ticks, ticks, panel.loss, levels=at, colors="black", linewidths=0.8)
        for text in axis.clabel(lines, fmt="%g", fontsize=8, manual=_places(lines, ticks, radius)):
            text.set_path_effects(halo)
    if panel.margin.min() < 0 < panel.margin.max():
        axis.contour(
            ticks, ticks, panel.margin, levels=[0], colors="black", linewidths=2, linestyles="--"
        )
    angle = np.linspace(0, 2 * np.pi, 361)
    casing = [withStroke(linewidth=4, foreground="white")]
    axis.plot(
        radius * np.cos(angle), radius * np.sin(angle), color=RED, linewidth=2, path_effects=casing
    )
    axis.plot(*ball(panel.directions, radius).T, color=RED, linewidth=1.2, linestyle=":")
    axis.plot(0, 0, "+", color="black", markersize=8, path_effects=halo)
    edge = float(ticks[-1])
    axis.set_xlim(-edge, edge)
    axis.set_ylim(-edge, edge)
    marks = [-edge, -edge / 2, 0, edge / 2, edge]
    axis.set_xticks(marks, [f"{mark:g}" for mark in marks])
    axis.set_yticks(marks, [f"{mark:g}" for mark in marks])
    axis.tick_params(labelsize=9)

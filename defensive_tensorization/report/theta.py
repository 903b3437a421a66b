"""Accuracy against theta: one panel an attack, a line an epsilon, the dense network dashed."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..system import table
from .attack_names import shown
from .figures import STYLES
from .wrapping import wrapped


class Point(NamedTuple):
    """Mean accuracy over evaluation seeds, a fraction, and its deviation; theta "dense": none."""

    theta: str
    attack: str
    epsilon: float
    accuracy: float
    deviation: float | None
    images: int
    seeds: int


def text(points: Sequence[Point], about: str) -> str:
    """The numbers in %: thetas down, attacks across."""
    heads = list(dict.fromkeys((point.attack, point.epsilon) for point in points))
    cells = {(p.theta, p.attack, p.epsilon): p for p in points}
    lines = [["theta", *(f"{a} {e:g}" if e else a for a, e in heads)]]
    for theta in dict.fromkeys(point.theta for point in points):
        found = [cells.get((theta, *head)) for head in heads]
        lines.append([theta, *(_cell(each) for each in found)])
    return "\n".join([about, "", table.console(lines, left=())])


def figure(points: Sequence[Point], about: str, path: Path) -> Path:
    """Write a PNG: mean and one deviation over evaluation seeds."""
    from .agg import pyplot

    names = [a for a in dict.fromkeys(p.attack for p in points) if a != "clean"] or ["clean"]
    thetas = [t for t in dict.fromkeys(p.theta for p in points) if t != "dense"]
    epsilons = sorted({p.epsilon for p in points})
    width = max(5.5, 3.4 * len(names))
    made, grid = pyplot.subplots(
        *(1, len(names)), figsize=(width, 3.9), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, name in zip(grid[0], names, strict=True):
        for epsilon, (colour, marker, _) in zip(epsilons, STYLES, strict=False):
            attack = name if epsilon else "clean"
            of = [p for p in points if (p.attack, p.epsilon) == (attack, epsilon)]
            line = {p.theta: p for p in of if p.theta != "dense"}
            at = [thetas.index(theta) for theta in line]
            axis.errorbar(
                at,
                [100 * p.accuracy for p in line.values()],
                yerr=[100 * (p.deviation or 0) for p in line.values()],
                color=colour,
                marker=marker,
                capsize=3,
                label=f"ε = {epsilon:g}" if epsilon else "no attack",
            )
            for p in of:
                if p.theta == "dense":
                    axis.axhline(100 * p.accuracy, color=colour, linestyle="--", linewidth=1)
        axis.set_title(shown(name))
        axis.set_xticks(range(len(thetas)), thetas)
        axis.set_xlabel("θ")
        axis.set_ylim(-2, 102)
        axis.grid(alpha=0.3)
    grid[0][0].set_ylabel("accuracy (%)")
    handles, labels = grid[0][0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    several = any(point.deviation is not None for point in points)
    dense = any(point.theta == "dense" for point in points)
    caption = about + " Bars: ± one standard deviation over evaluation seeds." * several
    caption += " Dashed: the dense network." * dense
    made.supxlabel(wrapped(caption, 0.98 * width, 8), fontsize=8)
    made.savefig(path, dpi=150)
    pyplot.close(made)
    return path


def _cell(point: Point | None) -> str:
    if point is None:
        return "—"
    spread = f" ± {100 * point.deviation:.1f}" if point.deviation is not None else ""
    return f"{100 * point.accuracy:.1f}{spread}"

"""One network under three attackers: what stopping at the first miss hides, in one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from defensive_tensorization.report.attack_names import STOPS, shown
from defensive_tensorization.report.caption import unit
from defensive_tensorization.report.evidence import HEADINGS, Line, lines
from defensive_tensorization.report.figures import STYLES, saved
from defensive_tensorization.report.tables import Rendered
from defensive_tensorization.report.wrapping import PAGE, wrapped
from defensive_tensorization.results.row import Row, given

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = list[tuple[float, float, float, float]]
"""(epsilon, accuracy, its lower and its upper end), in percent."""


def draw(rendered: Rendered, label: str, attack: str, path: Path) -> Path:
    """Writes a PNG of two panels, for the column called `label`.

    Left: accuracy against epsilon under `attack`, stopped at the first miss, with its full budget,
    and under the strongest attack that averages over draws; the published values on top. Right:
    P(correct | found), how often a fresh draw is right on an example that an attack which stops
    took for a miss.
    """
    from defensive_tensorization.report.agg import pyplot

    place = [column.label for column in rendered.table.columns].index(label)
    rows = rendered.used(place)
    drawn, (left, right) = pyplot.subplots(
        *(1, 2), figsize=(PAGE, 3.5), sharex=True, layout="constrained"
    )
    mine = [line for line in lines(rendered) if line.label == label]
    _accuracies(left, [each for each in mine if each.attack in ("clean", attack)])
    left.set_title(f"{label} under {shown(attack)}", fontsize=9)
    left.set_ylabel("accuracy (%)")
    for name, style in zip(dict.fromkeys(r.attack for r in rows), STYLES[1:], strict=False):
        if name.startswith(STOPS):
            _kept(right, [row for row in rows if row.attack == name], name, style)
    right.set_title("P(correct on a fresh draw | a miss was found)", fontsize=9)
    for axis in (left, right):
        axis.set_xlabel(f"ε ({unit(rows)})" if unit(rows) else "ε")
        axis.set_ylim(-2, 100)
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, frameon=False)
    found = " ".join(text for topic, text in rendered.facts if topic == "scored")
    counts = sorted({line.averaged.n for line in mine if line.averaged})
    found += "".join(f"; averaged over draws: n = {n:,}" for n in counts)
    beside = any(line.published is not None for line in mine)
    title = f"{label} under three attackers{', and the published values' if beside else ''}"
    text = f"{_scale(rendered)}. {found}; bars: one std over evaluation seeds, or the 95% interval."
    return saved(drawn, path, title, text, wrapped(text, 0.98 * PAGE, 8))


def accuracies(mine: Sequence[Line]) -> dict[str, Points]:
    """By heading of the evidence, the points there are; epsilon 0 is the clean accuracy."""
    found: dict[str, Points] = {heading: [] for heading in HEADINGS}
    for line in mine:
        stopped = line.full if line.attack == "clean" else line.stopped
        if line.published is not None:
            found[HEADINGS[0]].append((line.epsilon, *(line.published,) * 3))
        for heading, cell in zip(HEADINGS[1:3], (stopped, line.full), strict=True):
            if cell and cell.ours:
                mean, std = 100 * cell.ours.robust_mean, 100 * (cell.ours.robust_std or 0)
                found[heading].append((line.epsilon, mean, mean - std, mean + std))
        if line.averaged:
            of = line.averaged.score
            found[HEADINGS[3]].append(
                (line.epsilon, 100 * of.estimate, 100 * of.low, 100 * of.high)
            )
    return found


def _accuracies(axis: "Axes", mine: Sequence[Line]) -> None:
    styles = (("#CC79A7", "x", "none"), STYLES[1], STYLES[2], STYLES[0])
    for (heading, points), (colour, marker, dash) in zip(
        accuracies(mine).items(), styles, strict=True
    ):
        if points:
            x, y, low, high = zip(*points, strict=True)
            spread = [[a - b for a, b in zip(y, low, strict=True)]]
            spread += [[b - a for a, b in zip(y, high, strict=True)]]
            axis.errorbar(
                *(x, y, spread),
                color=colour,
                marker=marker,
                linestyle=dash,
                markersize=9 if dash == "none" else 5,
                markeredgewidth=2 if dash == "none" else 1,
                capsize=2,
                label=heading,
                zorder=3 if dash == "none" else 2,
            )


def _kept(axis: "Axes", rows: Sequence[Row], name: str, style: tuple[str, str, object]) -> None:
    colour, marker, dash = style
    points = []
    for epsilon in sorted({row.epsilon for row in rows}):
        _, share = given([row for row in rows if row.epsilon == epsilon], "found")
        if share is not None:
            points.append((epsilon, 100 * share))
    axis.plot(
        [epsilon for epsilon, _ in points],
        [share for _, share in points],
        color=colour,
        marker=marker,
        linestyle=dash,
        label=shown(name.removeprefix(STOPS)),
    )


def _scale(rendered: Rendered) -> str:
    return "; ".join(f"{topic}: {text}" for topic, text in rendered.facts if topic[:3] == "at ")

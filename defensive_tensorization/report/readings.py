"""What the panels of a figure say in numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from defensive_tensorization.results.landscape_panels import Panel

VERSIONS = {"draw": "", "mean": "_mean"}  # what the names of their files end with
NOTHING = "—"


@dataclass(frozen=True)
class Figure:
    """A figure of whatever panels there are, by label and version.

    labels  of its places, from left to right.
    fixed   one plane for all places, not each network's own.
    circle  its radius, in `unit`s of amplitude.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    fixed: bool
    circle: float
    unit: float
    found: dict[tuple[str, str], Panel]

    def panel(self, label: str, version: str) -> Panel | None:
        """A network that has no draws has one panel, for both versions."""
        return self.found.get((label, version)) or self.found.get((label, ""))

    @property
    def any(self) -> Panel | None:
        return next(iter(self.found.values()), None)

    def heading(self, version: str) -> str:
        return f"{self.title} ({'one draw' if version == 'draw' else 'mean over draws'})"

    def amount(self, amplitude: float) -> str:
        """In words: 11.3/255, or the amplitude where that is the unit."""
        if math.isclose(self.unit, 1 / 255):
            return f"{255 * amplitude:.3g}/255"
        return f"{amplitude:.3g}"


def crossing(panel: Panel) -> float | None:
    """How far along the gradient the mean margin falls to zero; None: not on the grid."""
    middle = len(panel.ticks) // 2
    margin, at = panel.margin[middle, middle:].astype(float), panel.ticks[middle:].astype(float)
    if margin[0] <= 0:
        return 0.0
    below = np.flatnonzero(margin <= 0)
    if not len(below):
        return None
    j = int(below[0])
    share = margin[j - 1] / (margin[j - 1] - margin[j])
    return float(at[j - 1] + share * (at[j] - at[j - 1]))


def within(panel: Panel, radius: float) -> float:
    """The highest loss of the grid points in the circle."""
    inside = np.hypot(*np.meshgrid(panel.ticks, panel.ticks)) <= radius
    return float(panel.loss[inside].max())


def cosine(one: Panel, other: Panel) -> float:
    """Of the gradients' directions."""
    a, b = (panel.directions[0].astype(float).ravel() for panel in (one, other))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def table(figure: Figure) -> list[list[str]]:
    """A line a reading, a column a place of the figure; the first line is its head."""
    radius = figure.circle * figure.unit

    def line(name: str, value: Callable[[str], str | None]) -> list[str]:
        return [name, *(value(label) or NOTHING for label in figure.labels)]

    def told(version: str, value: Callable[[Panel], str]) -> Callable[[str], str | None]:
        return lambda label: value(p) if (p := figure.panel(label, version)) else None

    def loss(panel: Panel) -> str:
        centre = panel.centre
        spread = f" ± {panel.spread[centre]:.2g}" if panel.about.draws > 1 else ""
        return f"{panel.loss[centre]:.2g}{spread}"

    def changes(panel: Panel) -> str:
        at = crossing(panel)
        return "nowhere on the axis" if at is None else figure.amount(at)

    def answers(panel: Panel) -> str:
        total = sum(panel.about.predictions.values())
        return ", ".join(f"{c} {k} of {total}" for c, k in panel.about.predictions.items())

    def agreement(label: str) -> str | None:
        one, mean = (figure.found.get((label, version)) for version in VERSIONS)
        return f"{cosine(one, mean):.2f}" if one and mean else None

    lines = [
        ["", *figure.labels],
        line("loss at the image, one draw", told("draw", loss)),
        line("loss at the image, mean", told("mean", loss)),
        line("answers at the image, by draw", told("mean", answers)),
        line("the answer changes at, one draw", told("draw", changes)),
        line("the answer changes at, mean", told("mean", changes)),
        line(
            "highest loss in the circle, one draw",
            told("draw", lambda p: f"{within(p, radius):.2g}"),
        ),
        line(
            "highest loss in the circle, mean", told("mean", lambda p: f"{within(p, radius):.2g}")
        ),
    ]
    if not figure.fixed:
        length = lambda p: f"{p.about.gradient_length:.2g}"  # noqa: E731
        lines += [
            line("length of the gradient, one draw", told("draw", length)),
            line("length of the gradient, mean", told("mean", length)),
            line("cosine of the two gradients", agreement),
        ]
    return lines

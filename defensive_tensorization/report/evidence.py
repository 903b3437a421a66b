"""Four columns of evidence: published, stopped at the first miss, full budget, averaged over draws.

The first two and the third differ in what ends the attack on an image, the last in what its
gradients average over; an accuracy that only the second column shows is luck of single draws.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from defensive_tensorization.report.tables import STOPS, Averaged, Cell, Rendered
from defensive_tensorization.results.row import Summary

HEADINGS = (
    "published",
    "as Foolbox 1.x ran it",
    "full budget, one draw a step",
    "averaged over draws",
)
ABOUT = (
    "As Foolbox 1.x ran it: the attack on an image ends at the first forward that misses. Full "
    "budget: it takes all its steps. Averaged over draws: the strongest of all attacks, those "
    "whose gradients average over draws included, with its 95% interval; it belongs to the network "
    "and ε, so it is the same on each of their lines"
)
NOT_FLAT = "†: an upper bound, since more steps or draws were not tried or still lower it"


@dataclass(frozen=True)
class Line:
    """One network under one attack at one epsilon; what was not measured is None."""

    label: str
    attack: str
    epsilon: float
    published: float | None
    elsewhere: bool
    stopped: Cell | None
    full: Cell
    averaged: Averaged | None


def lines(rendered: Rendered) -> Iterator[Line]:
    """Network by network, in the table's order."""
    at = {line: cells for line, cells in zip(rendered.table.lines, rendered.cells, strict=True)}
    for i, column in enumerate(rendered.table.columns):
        for (attack, epsilon), cells in at.items():
            if attack.startswith(STOPS):
                continue
            stopped = at.get((STOPS + attack, epsilon))
            yield Line(
                column.label,
                attack,
                epsilon,
                cells[i].published,
                cells[i].elsewhere,
                stopped[i] if stopped else None,
                cells[i],
                rendered.averaged.get((column.label, epsilon)),
            )


def grid(rendered: Rendered) -> list[list[str]]:
    """The header, and a line of texts each; a network is named where it begins."""
    found, before = [["Network", "Attack", "ε", *HEADINGS]], ""
    for line in lines(rendered):
        clean = line.attack == "clean"
        found.append(
            [
                line.label if line.label != before else "",
                "Clean" if clean else line.attack.upper(),
                "" if clean else f"{line.epsilon:g}",
                _published(line),
                "" if clean else _ours(line.stopped),
                _ours(line.full),
                _averaged(line.averaged),
            ]
        )
        before = line.label
    return found


def records(rendered: Rendered) -> list[dict[str, str | float | int | None]]:
    """One record a line, in percent; None is a missing value."""
    return [
        {
            "network": line.label,
            "attack": line.attack,
            "epsilon": line.epsilon,
            "published": line.published,
            **_summary("stopped", line.stopped),
            **_summary("full", line.full),
            "averaged": _percent(line.averaged and line.averaged.score.estimate),
            "averaged_low": _percent(line.averaged and line.averaged.score.low),
            "averaged_high": _percent(line.averaged and line.averaged.score.high),
            "upper_bound": line.averaged.refused if line.averaged else None,
        }
        for line in lines(rendered)
    ]


def legend(rendered: Rendered) -> str:
    """What the columns hold."""
    refused = any(line.averaged and line.averaged.refused for line in lines(rendered))
    return f"{rendered.legend}. {ABOUT}{f'; {NOT_FLAT}' if refused else ''}"


def _summary(name: str, cell: Cell | None) -> dict[str, float | int | None]:
    ours = cell.ours if cell else None
    return {
        name: _percent(ours and ours.robust_mean),
        f"{name}_std": _percent(ours and ours.robust_std),
        f"{name}_n": ours.n if ours else None,
        f"{name}_seeds": ours.seeds if ours else None,
    }


def _percent(value: float | Averaged | Summary | None) -> float | None:
    return round(100 * value, 2) if isinstance(value, float) else None


def _published(line: Line) -> str:
    if line.published is None:
        return "—"
    return f"{line.published:.1f}{'*' if line.elsewhere else ''}"


def _ours(cell: Cell | None) -> str:
    if cell is None or cell.ours is None:
        return "—"
    spread = cell.ours.robust_std
    return f"{100 * cell.ours.robust_mean:.1f}" + (
        "" if spread is None else f" ± {100 * spread:.1f}"
    )


def _averaged(found: Averaged | None) -> str:
    if found is None:
        return "—"
    value, low, high = (100 * n for n in (found.score.estimate, found.score.low, found.score.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]{'†' if found.refused else ''}"

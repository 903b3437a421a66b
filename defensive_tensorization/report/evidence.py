"""Four columns of evidence: published, stopped at the first miss, full budget, averaged over draws.

The first two and the third differ in what ends the attack on an image, the last in what its
gradients average over; an accuracy that only the second column shows is luck of single draws.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from defensive_tensorization.report.attack_names import STOPS, shown
from defensive_tensorization.report.tables import BRACKETS, Averaged, Cell, Rendered
from defensive_tensorization.results.row import given

Value = str | float | int | None

HEADINGS = (
    "published",
    "as Foolbox 1.x ran it",
    "full budget, one draw a step",
    "averaged over draws",
)
ABOUT = (
    "As Foolbox 1.x ran it: the attack on an image ends at the first forward that misses. Full "
    "budget: it takes all its steps. Averaged over draws: the strongest attack that was run, those "
    "that average over draws included (they are listed on the page honest_*), {interval}; it "
    "belongs to the network and ε, so it is the same on each of their lines"
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
    """The header, and a line of texts each; a network is named where it begins.

    A table of which nothing was published has no such column.
    """
    told = list(lines(rendered))
    known = any(line.published is not None or line.elsewhere for line in told)
    found, before = [["Network", "Attack", "ε", *HEADINGS[not known :]]], ""
    for line in told:
        clean = line.attack == "clean"
        found.append(
            [
                line.label if line.label != before else "",
                shown(line.attack),
                "" if clean else f"{line.epsilon:g}",
                *([line.full.paper] if known else []),
                "" if clean else line.stopped.text if line.stopped else "—",
                line.full.text,
                _averaged(line.averaged),
            ]
        )
        before = line.label
    return found


def records(rendered: Rendered) -> list[dict[str, Value]]:
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
    found = [line.averaged for line in lines(rendered) if line.averaged]
    counts = ", ".join(f"{n:,}" for n in sorted({each.n for each in found}))
    scored = f", scored on n = {counts} images" if found else ""
    refused = any(each.refused for each in found)
    head = rendered.legend.replace(BRACKETS, "in a column of its own the published value")
    about = ABOUT.format(interval=f"{'in brackets' if found else 'with'} its 95% interval")
    return f"{head}. {about}{scored}{f'; {NOT_FLAT}' if refused else ''}"


def record(attack: str, cell: Cell, averaged: Averaged | None) -> dict[str, Value]:
    """What a cell's record has beside its accuracy: of an attack that stops, the images of which it
    found an example, all seeds together, and the share of them that a fresh draw gets right."""
    found, right = given(cell.rows, "found") if attack.startswith(STOPS) else (None, None)
    of = averaged and averaged.score
    return {
        "found": found,
        "right_given_found": _percent(right),
        "averaged": _percent(of and of.estimate),
        "averaged_low": _percent(of and of.low),
        "averaged_high": _percent(of and of.high),
        "averaged_n": averaged.n if averaged else None,
        "averaged_by": averaged.by if averaged else None,
        "averaged_refused": averaged.refused if averaged else None,
    }


def sentence(rendered: Rendered) -> str:
    """What the numbers say of one network at the largest epsilon; "" where one is missing."""
    mine = [line for line in lines(rendered) if line.label == rendered.table.shown]
    whole = [line for line in mine if line.stopped and line.stopped.ours and line.averaged]
    told = [_kept(line) for line in whole[-1:]]
    if not told or "" in told:
        return ""
    line = whole[-1]
    text = (
        f"At ε = {line.epsilon:g}, {line.label} keeps {told[0]} under {shown(line.attack)}: "
        "stopped at the first miss, with its full budget, and averaged over draws"
    )
    first = next(lines(rendered)).label
    others = [
        each
        for each in lines(rendered)
        if (each.label, each.attack, each.epsilon) == (first, line.attack, line.epsilon)
    ]
    beside = _kept(others[0]) if others and first != line.label else ""
    return f"{text}. {first} keeps {beside}." if beside else f"{text}."


def _kept(line: Line) -> str:
    """ "30.1, 0.2 and 0.0%": stopped, full budget, averaged."""
    if not (line.stopped and line.stopped.ours and line.full.ours and line.averaged):
        return ""
    stopped, full = line.stopped.ours.robust_mean, line.full.ours.robust_mean
    averaged = line.averaged.score.estimate
    return f"{100 * stopped:.1f}, {100 * full:.1f} and {100 * averaged:.1f}%"


def _summary(name: str, cell: Cell | None) -> dict[str, float | int | None]:
    ours = cell.ours if cell else None
    return {
        name: _percent(ours and ours.robust_mean),
        f"{name}_std": _percent(ours and ours.robust_std),
        f"{name}_n": ours.n if ours else None,
        f"{name}_seeds": ours.seeds if ours else None,
    }


def _percent(value: object) -> float | None:
    return round(100 * value, 4) if isinstance(value, float) else None


def _averaged(found: Averaged | None) -> str:
    if found is None:
        return "—"
    value, low, high = (100 * n for n in (found.score.estimate, found.score.low, found.score.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]{'†' if found.refused else ''}"

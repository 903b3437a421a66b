"""What is said under a picture of robust accuracies, and how much of it was not run."""

from collections.abc import Sequence

from defensive_tensorization.report.attack_names import STOPS, shown
from defensive_tensorization.report.caption import facts
from defensive_tensorization.report.selection import Column, cell
from defensive_tensorization.results.row import Row

Line = tuple[str, float]
"""An attack and an epsilon."""

TOPICS = ("rows", "data", "network", "scored", "evaluation seeds")


def caption(
    columns: Sequence[Column], attacks: Sequence[str], rows: Sequence[Row], marks: str
) -> str:
    """One paragraph; `marks` says what is drawn."""
    parts = [
        f"{topic}: {statement}"
        for topic, statement in facts(columns, rows)
        if topic in TOPICS or topic.endswith(" scale")
    ]
    if rows and (lacking := not_run(columns, attacks, rows)):
        parts.append(lacking)
    return f"{marks}; {'; '.join(parts)}."


def not_run(columns: Sequence[Column], attacks: Sequence[str], rows: Sequence[Row]) -> str:
    """How many cells have no rows, and where they are; "" where none lacks.

    Cells are the clean accuracy, and each attack at each epsilon that any of them has, by method.
    """
    epsilons = sorted({row.epsilon for row in rows if row.attack in attacks})
    lines = [("clean", 0.0), *((a, e) for a in attacks for e in epsilons)]
    lacking = {
        column.label: [(a, e) for a, e in lines if cell(rows, column, a, e) is None]
        for column in columns
    }
    count, whole = sum(map(len, lacking.values())), len(lines) * len(columns)
    if not count:
        return ""
    stopping = [(a, e) for a, e in lines if a.startswith(STOPS)]
    if stopping and all(set(stopping) <= set(mine) for mine in lacking.values()):
        told, lines = ["those stopped at the first miss"], [e for e in lines if e not in stopping]
    else:
        told = []
    labels: dict[str, list[str]] = {}
    for label, mine in lacking.items():
        if rest := [each for each in mine if each in lines]:
            labels.setdefault(_where(rest, lines, bool(told)), []).append(label)
    told += [
        where if len(of) == len(columns) else f"{where} of {' and '.join(of)}"
        for where, of in labels.items()
    ]
    return f"not run: {count} of {whole} cells: {'; '.join(told)}"


def _where(mine: Sequence[Line], lines: Sequence[Line], others: bool) -> str:
    """Which of these lines a method lacks, in a few words."""
    if len(mine) == len(lines):
        return "all others" if others else "all"
    told = []
    for attack in dict.fromkeys(attack for attack, _ in mine):
        epsilons = [epsilon for of, epsilon in mine if of == attack]
        whole = len(epsilons) == sum(of == attack for of, _ in lines)
        at = ", ".join(f"{epsilon:g}" for epsilon in epsilons)
        told.append(shown(attack) if whole else f"{shown(attack)} at ε = {at}")
    return ", ".join(told)


def panels(attacks: Sequence[str], rows: Sequence[Row]) -> list[list[str]]:
    """The attacks by row of panels: those that stop at the first miss apart, and only with rows."""
    run = {row.attack for row in rows}
    stopped = [a for a in attacks if a.startswith(STOPS)]
    full = [a for a in attacks if not a.startswith(STOPS)]
    shown = [stopped] if run & set(stopped) or not full else []
    return [each for each in (*shown, full) if each] or [[]]

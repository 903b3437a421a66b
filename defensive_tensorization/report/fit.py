"""How well each reading of the attacks of 2018 fits the published tables.

A reading is what a user of that Foolbox chose, or had to decide (docs/protocol.md). The measure of
fit is the root mean square, over all cells of the published tables, of the difference between ours
and the published accuracy, each relative to its own clean accuracy, in points.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

from defensive_tensorization.report.attack_names import STOPS, shown
from defensive_tensorization.report.caption import Facts
from defensive_tensorization.report.fit_networks import Network, lines
from defensive_tensorization.report.formats import Record
from defensive_tensorization.report.selection import Column, cell_rows
from defensive_tensorization.report.template import fill
from defensive_tensorization.results.row import Row, summarise

Cells = Mapping[tuple[str, float], float]
"""(attack, epsilon) to an accuracy, a fraction of the clean one."""

COUNTED = {
    "nothing": "images without a miss count as correct",
    "beyond": "beyond ε counts as correct",
}


@dataclass(frozen=True)
class Held:
    """Rows and what they are held against: a network under one handling of BatchNorm.

    clean      the column whose unattacked rows say its clean accuracy.
    table      the published table, `published` its cells.
    """

    handling: str
    column: Column
    clean: Column
    table: str
    published: Cells


@dataclass(frozen=True)
class Fit:
    """One reading of FGSM, or of BIM and PGD, under one handling: cells by table."""

    handling: str
    attacks: tuple[str, ...]
    reading: str
    cells: Mapping[str, Sequence[tuple[str, float, float, float]]]
    """By table: (attack, epsilon, ours, published), relative to clean."""

    def rms(self, *tables: str) -> float | None:
        """In points, over the cells of the tables (none named: of all); None without a cell."""
        found = [c for table in tables or self.cells for c in self.cells.get(table, ())]
        if not found:
            return None
        return 100 * math.sqrt(math.fsum((a - b) ** 2 for _, _, a, b in found) / len(found))


def relative_to_clean(values: Mapping[tuple[str, float], float], clean: float) -> Cells:
    """Accuracies of attacks, in the unit of `clean`, as fractions of it."""
    return {at: value / clean for at, value in values.items()}


def accuracy(rows: Sequence[Row], counted: Iterable[str] = ()) -> float:
    """Mean robust accuracy where images of the outcomes `counted` count as correct."""
    names, values = tuple(counted), []
    for row in rows:
        right = row.robust_accuracy * row.n * row.scored
        for name in names:
            images, answers = row.ended.get(name, (0, 0))
            right += images * row.scored - answers
        values.append(right / (row.n * row.scored))
    return math.fsum(values) / len(values)


def missed_unattacked(rows: Iterable[Row]) -> float | None:
    """The share of images that the attacked network misses before any attack."""
    shares = [row.ended["unperturbed"][0] / row.n for row in rows if "unperturbed" in row.ended]
    return math.fsum(shares) / len(shares) if shares else None


def fits(held: Sequence[Held], rows: Sequence[Row]) -> list[Fit]:
    """Every reading there are rows of, for each handling: of most tables first, then the best.

    A table of which a reading has some cells only is left out: its fit would not compare.
    """
    found = []
    met = {(row.attack, row.epsilon) for row in rows}
    for handling in dict.fromkeys(each.handling for each in held):
        of = [each for each in held if each.handling == handling]
        mine = [row for row in rows if any(each.column.takes(row) for each in of)]
        for attacks in (("fgsm",), ("bim", "pgd")):
            names = {r.attack for r in mine if r.attack.startswith(STOPS) and _bare(r) in attacks}
            for suffix in sorted({_suffix(name) for name in names}):
                found += _readings(handling, attacks, suffix, of, mine, met)
    return sorted(found, key=lambda fit: (fit.attacks, -len(fit.cells), fit.rms() or math.inf))


def _readings(
    handling: str,
    attacks: tuple[str, ...],
    suffix: str,
    held: Sequence[Held],
    rows: Sequence[Row],
    met: Collection[tuple[str, float]],
) -> list[Fit]:
    """One attack's rows, counted in every way that its outcomes allow.

    met: the (attack, epsilon) that any network has rows of, so that each should have them.
    """
    each = [row for row in rows if _bare(row) in attacks and _suffix(row.attack) == suffix]
    ended = {name for row in each for name in row.ended} & COUNTED.keys()
    ways = chain.from_iterable(combinations(sorted(ended), k) for k in range(len(ended) + 1))
    setting = _setting(each[0])
    made = []
    for counted in ways:
        cells: dict[str, list[tuple[str, float, float, float]]] = {}
        for one in held:
            clean = summarise(cell_rows(rows, one.clean, "clean", 0.0)).clean_mean
            wanted = {
                (attack, epsilon): printed
                for (attack, epsilon), printed in one.published.items()
                if attack in attacks and (f"{STOPS}{attack}{suffix}", epsilon) in met
            }
            there = {
                at: cell_rows(each, one.column, f"{STOPS}{at[0]}{suffix}", at[1]) for at in wanted
            }
            if all(there.values()) and there:
                cells[one.table] = [
                    (*at, accuracy(there[at], counted) / clean, printed)
                    for at, printed in wanted.items()
                ]
        text = "; ".join([setting, *(COUNTED[name] for name in counted)])
        if cells:
            made.append(Fit(handling, attacks, text, cells))
    return made


def _bare(row: Row) -> str:
    return row.attack.removeprefix(STOPS).partition("_")[0]


def _suffix(name: str) -> str:
    """What its key adds to the algorithm's name: "_search"."""
    return name.removeprefix(STOPS).removeprefix(name.removeprefix(STOPS).partition("_")[0])


def _setting(row: Row) -> str:
    settings = row.settings
    if "sizes" in settings:
        return f"sizes {settings['sizes']}"
    return f"binary search {settings['binary_search']}"


def markdown(
    title: str,
    found: Sequence[Fit],
    networks: Sequence[Network],
    tables: Sequence[str],
    about: Facts,
) -> str:
    """The readings, the best first, then the networks and the cells of the best."""
    titles = [f"{_title(table)}, points" for table in tables]
    readings = [["Attack", "Reading", "Network", "both, points", *titles]]
    for fit in found:
        attacks = " and ".join(map(shown, fit.attacks))
        both = fit.rms() if len(fit.cells) == len(tables) else None
        numbers = map(_points, (both, *map(fit.rms, tables)))
        readings.append([attacks, fit.reading, fit.handling, *numbers])
    return fill(
        "fit.md",
        title=title,
        readings=readings,
        networks=lines(networks),
        best=[(_heading(fit), _cells(fit)) for fit in _best(found)],
        facts=about,
    )


def records(found: Sequence[Fit]) -> list[Record]:
    """One record a cell, in percent of the clean accuracy."""
    return [
        {
            "attack": attack,
            "epsilon": epsilon,
            "table": table,
            "batchnorm": fit.handling,
            "reading": fit.reading,
            "ours": round(100 * ours, 4),
            "published": round(100 * printed, 4),
            "rms": round(fit.rms() or 0.0, 2),
            "rms_of_table": round(fit.rms(table) or 0.0, 2),
        }
        for fit in found
        for table, cells in fit.cells.items()
        for attack, epsilon, ours, printed in cells
    ]


def _best(found: Sequence[Fit]) -> list[Fit]:
    """The best of each attack."""
    return list({fit.attacks: fit for fit in reversed(found)}.values())[::-1]


def _heading(fit: Fit) -> str:
    return f"{', '.join(map(shown, fit.attacks))}: {fit.reading}; {fit.handling}"


def _cells(fit: Fit) -> list[list[str]]:
    lines = [["Table", "Attack", "ε", "published", "ours"]]
    for table, cells in fit.cells.items():
        for attack, epsilon, ours, printed in cells:
            numbers = [f"{100 * printed:.0f}", f"{100 * ours:.0f}"]
            lines.append([_title(table), shown(attack), f"{epsilon:g}", *numbers])
    return lines


def _title(table: str) -> str:
    return table.replace("table", "Table ")


def _points(value: float | None) -> str:
    return "—" if value is None else f"{value:.1f}"

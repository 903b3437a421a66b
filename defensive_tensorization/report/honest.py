"""A table of the paper three times over: published, by the paper's protocol, and honestly.

Honest means: the strongest of the table's attacks, averaging over draws or not, scored on at
least 30 fresh draws, with an interval, and only once the surface of steps x draws is flat
(`surface.unsettled`): until then the number is refused, and what was measured stands beside why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from defensive_tensorization.report.caption import Facts
from defensive_tensorization.report.formats import Record, tidy
from defensive_tensorization.report.published import Key
from defensive_tensorization.report.selection import Column, cell_rows, one_training
from defensive_tensorization.report.surface import (
    Surface,
    answers,
    percent,
    shown,
    surface,
    surface_rows,
    unsettled,
)
from defensive_tensorization.results import Row
from defensive_tensorization.scores import NAMES, Answers, Interval, difference, interval

HEADINGS = {
    "majority": "majority vote",
    "probability": "mean-probability vote",
    "worst": "worst draw",
    "best": "best draw",
    "lucky": "lucky hits",
}


LEAST = 30  # fresh draws that score a headline

ABOUT = (
    "Accuracy in %. Published and paper's protocol: the lowest of its attacks that are shown "
    "here, one draw a step. Honest: the mean over fresh draws under the strongest of all its "
    "attacks, those that average over draws included, with its 95% interval over images and draws "
    "(it was chosen and scored on the same draws, and leans low by what the choice picks up); "
    "beside it the votes and extremes of those draws, each under the attack that lowers it most: "
    "none of these was made to lower a vote. A difference pairs the images; a control is the same "
    "network at θ = 1, or what the column is to be held against. — is not measured."
)


@dataclass(frozen=True)
class Line:
    """One network at one epsilon (0: clean); what was not measured is None.

    published  percent, the lowest of the paper's attacks; paper  ours under them, a fraction.
    scores     each under the attack that lowers it most, `by` for the mean.
    against    the mean minus the first column's, images paired; control: minus its control's; None
               where either of the two is refused.
    refused    why the headline is not to be quoted yet.
    """

    epsilon: float
    column: Column
    published: float | None
    paper: float | None
    scores: Mapping[str, Interval] = field(default_factory=dict)
    by: str = ""
    against: Interval | None = None
    control: Interval | None = None
    refused: str = ""


def lines(
    columns: Sequence[Column],
    rows: Sequence[Row],
    surfaces: Mapping[Column, Column],
    epsilons: Sequence[float],
    attacks: Sequence[str],
    published: Mapping[Key, float],
    controls: Mapping[Column, Column] | None = None,
) -> list[Line]:
    """surfaces: by column, what selects its surface among the rows; controls: by column, another;
    attacks: those of the paper's protocol."""
    made = []
    for epsilon in (0.0, *epsilons):
        found = {column: _by_attack(rows, column, epsilon) for column in columns}
        headlines = {c: each[_lowest(each)] for c, each in found.items() if each}
        refused = {
            c: _refused(headline, rows, surfaces.get(c), epsilon) if epsilon else ""
            for c, headline in headlines.items()
        }
        quoted = {c: _answers(headline) for c, headline in headlines.items() if not refused[c]}
        for column in columns:
            mine, single = found[column], attacks if epsilon else ("clean",)
            ours = (interval(_answers(mine[name])).estimate for name in single if name in mine)
            keys = [(name, epsilon, column.paper) for name in single]
            printed = [published[key] for key in keys if key in published]
            made.append(
                Line(
                    epsilon,
                    column,
                    min(printed, default=None),
                    min(ours, default=None),
                    _scores(mine),
                    _lowest(mine) if mine else "",
                    _minus(quoted, column, columns[0]),
                    _minus(quoted, column, (controls or {}).get(column)),
                    refused.get(column, ""),
                )
            )
    return made


def _minus(
    found: Mapping[Column, Sequence[Answers]], column: Column, other: Column | None
) -> Interval | None:
    """None where one of the two is not there, or they are one."""
    if other is None or other == column or column not in found or other not in found:
        return None
    return difference(found[column], found[other])


def _refused(
    headline: Sequence[Row], rows: Sequence[Row], column: Column | None, epsilon: float
) -> str:
    """Why, or ""; column: what selects the headline's surface."""
    own: Surface = {}
    if column:
        own = surface(rows, column, epsilon)
        of_both = [*headline, *surface_rows(rows, column, epsilon)]
        one_training(of_both, f"{column.label} and its surface at epsilon {epsilon:g}")
    least = min(row.scored for row in headline)
    if least < LEAST:
        return f"it is scored on {least} draws, {LEAST} are the least"
    return unsettled(own, _answers(headline))


def markdown(title: str, made: Sequence[Line], facts: Facts, first: str) -> str:
    """The page: the table side by side, what is refused and why, the circumstances."""
    header = ["ε", "method", "published", "paper's protocol", "honest", "by"]
    header += [f"minus {first}", "minus its control"]
    header += [HEADINGS[name] for name in HEADINGS]
    page = [f"# {title}", "", _bars(header), _bars(["---:", "---", *["---:"] * (len(header) - 2)])]
    for line in made:
        told = {} if line.refused else line.scores
        honest = shown(told["mean"]) if told else "refused" if line.refused else "—"
        page.append(
            _bars(
                [
                    f"{line.epsilon:g}" if line.epsilon else "clean",
                    line.column.label,
                    "—" if line.published is None else f"{line.published:.1f}",
                    "—" if line.paper is None else percent(line.paper),
                    honest,
                    line.by.upper().replace("_", "-") if line.epsilon else "",
                    "—" if line.against is None else shown(line.against),
                    "—" if line.control is None else shown(line.control),
                    *(percent(told[name].estimate) if told else "—" for name in HEADINGS),
                ]
            )
        )
    refused = [line for line in made if line.refused]
    page += ["", ABOUT, ""]
    if refused:
        page += [
            "**Refused**, for the reason beside what was measured; no difference is taken with it.",
            "",
            *(
                f"- {line.column.label}, ε = {line.epsilon:g}: {shown(line.scores['mean'])} "
                f"measured; {line.refused}"
                for line in refused
            ),
            "",
        ]
    page += [*(f"- {topic}: {text}" for topic, text in facts), ""]
    return "\n".join(page)


def records(made: Sequence[Line]) -> list[Record]:
    """One record a line and score, in percent; None is a missing value. What is refused has
    `measured` in place of its scores."""
    found: list[Record] = []

    def add(line: Line, score: str, value: float | Interval | None) -> None:
        whole = Interval(value, value, value) if isinstance(value, float) else value
        numbers = (whole.estimate, whole.low, whole.high) if whole else (None, None, None)
        shown = [None if n is None else round(100 * n, 2) for n in numbers]
        sure = isinstance(value, float)  # a number without an interval
        found.append(
            {
                "epsilon": line.epsilon,
                "method": line.column.label,
                "score": score,
                "value": shown[0],
                "low": None if sure else shown[1],
                "high": None if sure else shown[2],
                "refused": line.refused,
            }
        )

    for line in made:
        add(line, "published", None if line.published is None else line.published / 100)
        add(line, "paper_protocol", line.paper)
        if line.refused:
            add(line, "measured", line.scores["mean"])
            continue
        for name in NAMES:
            add(line, name, line.scores.get(name))
        add(line, "difference", line.against)
        add(line, "control", line.control)
    return found


def write(name: str, page: str, made: Sequence[Line], folder: Path) -> list[Path]:
    """Writes `<name>.md` and `<name>.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.md", folder / f"{name}.csv"]
    for path, text in zip(paths, (page, tidy(records(made))), strict=True):
        path.write_bytes(text.encode())
    return paths


def _by_attack(rows: Sequence[Row], column: Column, epsilon: float) -> dict[str, list[Row]]:
    """The column's rows that say what each image got; one network's, one protocol an attack."""
    kept = [row for row in rows if row.correct and column.takes(row) and row.epsilon == epsilon]
    names = dict.fromkeys(row.attack for row in kept)
    return {name: cell_rows(kept, column, name, epsilon) for name in names}


def _answers(rows: Sequence[Row]) -> list[Answers]:
    return [answers(row) for row in rows]


def _lowest(found: Mapping[str, Sequence[Row]]) -> str:
    """The attack that lowers the mean most."""
    return min(found, key=lambda attack: interval(_answers(found[attack])).estimate)


def _scores(found: Mapping[str, Sequence[Row]]) -> dict[str, Interval]:
    """Every score under the attack that lowers it most.

    Lucky hits are no accuracy: they are those of the attack that lowers the mean.
    """
    if not found:
        return {}
    scores = {
        name: min((interval(_answers(r), name) for r in found.values()), key=lambda i: i.estimate)
        for name in NAMES
    }
    return scores | {"lucky": interval(_answers(found[_lowest(found)]), "lucky")}


def _bars(line: Sequence[str]) -> str:
    return f"| {' | '.join(line)} |"

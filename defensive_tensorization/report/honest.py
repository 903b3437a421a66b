"""A table of the paper three times over: published, by the paper's protocol, and honestly.

Honest means: the strongest of the attacks that average over draws, scored on fresh draws, with an
interval, and only once its surface of steps x draws is flat (`surface.unsettled`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from defensive_tensorization.report.caption import Facts
from defensive_tensorization.report.formats import Record, tidy
from defensive_tensorization.report.published import Key
from defensive_tensorization.report.selection import Column
from defensive_tensorization.report.surface import (
    answers,
    averages,
    percent,
    shown,
    surface,
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


ABOUT = (
    "Accuracy in %. Published and paper's protocol: the lowest of its attacks that are shown here, "
    "one draw a step. Honest: the mean over fresh draws under the strongest attack that averages, "
    "with its 95% interval over images and draws; beside it the votes and extremes of those draws, "
    "each under the attack that lowers it most. A difference pairs the images. — is not measured."
)


@dataclass(frozen=True)
class Line:
    """One network at one epsilon (0: clean); what was not measured is None.

    published  percent, the lowest of the paper's attacks; paper  ours under them, a fraction.
    scores     each under the averaging attack that lowers it most, `by` for the mean.
    against    the mean minus the first column's, images paired.
    waits      why the headline is not to be quoted yet.
    """

    epsilon: float
    column: Column
    published: float | None
    paper: float | None
    scores: Mapping[str, Interval] = field(default_factory=dict)
    by: str = ""
    against: Interval | None = None
    waits: str = ""


def lines(
    columns: Sequence[Column],
    rows: Sequence[Row],
    all_rows: Sequence[Row],
    epsilons: Sequence[float],
    attacks: Sequence[str],
    published: Mapping[Key, float],
) -> list[Line]:
    """`rows` are those of the table, `all_rows` those that surfaces may be found among.

    `attacks` are those of the paper's protocol.
    """
    made = []
    for epsilon in (0.0, *epsilons):
        reference: list[Answers] | None = None
        for column in columns:
            mine = [r for r in rows if column.takes(r) and r.epsilon == epsilon and r.correct]
            honest = _by_attack(r for r in mine if averages(r) or not epsilon)
            ours = _by_attack(r for r in mine if not averages(r))
            keys = [(n, epsilon, column.paper) for n in (attacks if epsilon else ("clean",))]
            printed = [published[key] for key in keys if key in published]
            scores, by = _strongest(honest)
            strongest = honest[by] if by else None
            if column is columns[0]:
                reference = strongest
            made.append(
                Line(
                    epsilon,
                    column,
                    min(printed, default=None),
                    min((interval(each).estimate for each in ours.values()), default=None),
                    scores,
                    by,
                    difference(strongest, reference)
                    if strongest and reference and column is not columns[0]
                    else None,
                    unsettled(surface(all_rows, column, epsilon), scores["mean"])
                    if epsilon and by
                    else "",
                )
            )
    return made


def markdown(title: str, made: Sequence[Line], facts: Facts, first: str) -> str:
    """The page: the table side by side, what waits and why, the circumstances."""
    header = ["ε", "method", "published", "paper's protocol", "honest", "by", f"minus {first}"]
    header += [HEADINGS[name] for name in HEADINGS]
    page = [f"# {title}", "", _bars(header), _bars(["---:", "---", *["---:"] * (len(header) - 2)])]
    for line in made:
        mean = line.scores.get("mean")
        honest = "—" if mean is None else f"{shown(mean)}{' (waits)' if line.waits else ''}"
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
                    *(
                        percent(line.scores[name].estimate) if line.scores else "—"
                        for name in HEADINGS
                    ),
                ]
            )
        )
    waiting = [line for line in made if line.waits]
    page += [
        "",
        ABOUT,
        "",
    ]
    if waiting:
        page += [
            "**Not to be quoted yet** (waits): more steps or draws may lower these.",
            "",
            *(f"- {w.column.label}, ε = {w.epsilon:g}: {w.waits}" for w in waiting),
            "",
        ]
    page += [*(f"- {topic}: {text}" for topic, text in facts), ""]
    return "\n".join(page)


def records(made: Sequence[Line]) -> list[Record]:
    """One record a line and score, in percent; None is a missing value."""
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
                "waits": line.waits,
            }
        )

    for line in made:
        add(line, "published", None if line.published is None else line.published / 100)
        add(line, "paper_protocol", line.paper)
        for name in NAMES:
            add(line, name, line.scores.get(name))
        add(line, "difference", line.against)
    return found


def write(name: str, page: str, made: Sequence[Line], folder: Path) -> list[Path]:
    """Writes `<name>.md` and `<name>.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.md", folder / f"{name}.csv"]
    for path, text in zip(paths, (page, tidy(records(made))), strict=True):
        path.write_bytes(text.encode())
    return paths


def _by_attack(rows: Iterable[Row]) -> dict[str, list[Answers]]:
    found: dict[str, list[Answers]] = {}
    for row in rows:
        found.setdefault(row.attack, []).append(answers(row))
    return found


def _strongest(found: Mapping[str, list[Answers]]) -> tuple[dict[str, Interval], str]:
    """Every score under the attack that lowers it most, and which that is for the mean.

    Lucky hits are no accuracy: they are those of the attack that lowers the mean.
    """
    if not found:
        return {}, ""
    by = min(found, key=lambda attack: interval(found[attack]).estimate)
    scores = {
        name: min((interval(each, name) for each in found.values()), key=lambda i: i.estimate)
        for name in NAMES
    }
    return scores | {"lucky": interval(found[by], "lucky")}, by


def _bars(line: Sequence[str]) -> str:
    return f"| {' | '.join(line)} |"

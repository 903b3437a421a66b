"""The page of an honest table and its csv, from its lines."""

from collections.abc import Sequence
from pathlib import Path

from defensive_tensorization.report import attack_names
from defensive_tensorization.report.caption import Facts
from defensive_tensorization.report.formats import Record, tidy
from defensive_tensorization.report.honest import Line
from defensive_tensorization.report.surface import percent, shown
from defensive_tensorization.report.template import fill
from defensive_tensorization.results.scores import NAMES, Interval

HEADINGS = {
    "majority": "majority vote",
    "probability": "mean-probability vote",
    "worst": "worst draw",
    "best": "best draw",
    "lucky": "lucky hits",
}


def markdown(title: str, made: Sequence[Line], facts: Facts, first: str) -> str:
    """The page: the table side by side, what is refused and why, the circumstances."""
    header = ["ε", "method", "published", "full budget, one draw a step", "honest", "by"]
    header += [f"minus {first}", "minus its control", *HEADINGS.values()]
    return fill(
        "honest.md",
        title=title,
        grid=[header, *map(_texts, made)],
        refused=[
            (_at(line), shown(line.scores["mean"]), line.refused) for line in made if line.refused
        ],
        outside=[(_at(line), shown(line.outside)) for line in made if line.outside],
        facts=facts,
    )


def _texts(line: Line) -> list[str]:
    """A line of the table."""
    told = {} if line.refused else line.scores
    missing = "refused" if line.refused else "—"
    return [
        f"{line.epsilon:g}" if line.epsilon else "clean",
        line.column.label,
        "—" if line.published is None else f"{line.published:.1f}",
        "—" if line.paper is None else percent(line.paper),
        shown(told["mean"]) if told else missing,
        attack_names.shown(line.by) if line.epsilon else "",
        "—" if line.against is None else shown(line.against),
        "—" if line.control is None else shown(line.control),
        *(percent(told[name].estimate) if told else "—" for name in HEADINGS),
    ]


def _at(line: Line) -> str:
    return f"{line.column.label}, ε = {line.epsilon:g}"


def records(made: Sequence[Line]) -> list[Record]:
    """One record a line and score, in percent; None is a missing value. What is refused has
    `measured` in place of its scores."""
    found: list[Record] = []

    def add(line: Line, score: str, value: float | Interval | None) -> None:
        whole = Interval(value, value, value) if isinstance(value, float) else value
        numbers = (whole.estimate, whole.low, whole.high) if whole else (None, None, None)
        shown = [None if n is None else round(100 * n, 4) for n in numbers]
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
        if line.outside:
            add(line, "autoattack", line.outside)
        add(line, "published", None if line.published is None else line.published / 100)
        add(line, "full_budget", line.paper)
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

"""The panel's page: verdicts beside what is known of each model, from the audits' JSON alone."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .audits import Result, epsilon, facts, share, table
from .index import write_index

Member = Mapping[str, Any]
NOT_RUN = "not run"
UNDECIDED = "undecided"


def write(members: Sequence[Member], files: Sequence[Path | None], folder: Path) -> list[Path]:
    """`audit_panel.md` and `.csv`, each member's JSON in `audits/`, copied, and the index anew.

    files: None for a member whose audit was not run; of one at least there is a file.
    """
    (folder / "audits").mkdir(parents=True, exist_ok=True)
    rows: list[tuple[Member, Result | None]] = []
    made = []
    for member, file in zip(members, files, strict=True):
        rows.append((member, None if file is None else json.loads(file.read_text())))
        if file is not None:
            copy = folder / "audits" / file.name
            copy.write_bytes(file.read_bytes())
            made.append(copy)
    results = [result for _, result in rows if result is not None]
    grid = grid_of(rows)
    page = [
        "# Audits of models of which the truth is known",
        "",
        _summary(rows),
        "",
        *table(grid),
        "",
        "Steps and draws are of the audit that settled it, where the first asked for more.",
        "",
        *table([["Model", "What is known", "Right verdicts", "Its audit"], *map(_known, rows)]),
        "",
        *(f"- {topic}: {statement}" for topic, statement in _of_all(results)),
        "",
    ]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(grid)
    for suffix, content in ((".md", "\n".join(page)), (".csv", out.getvalue())):
        path = folder / f"audit_panel{suffix}"
        path.write_bytes(content.encode())
        made.append(path)
    made.append(write_index(folder))
    return made


def _summary(rows: Sequence[tuple[Member, Result | None]]) -> str:
    """How many verdicts are right, undecided, wrong; of how many models there is none."""
    run = [(member, result) for member, result in rows if result is not None]
    found = [_right(member, result) for member, result in run]
    counts = [f"{found.count('yes')} of {len(run)} verdicts are right"]
    counts += [f"{n} undecided" for n in [found.count(UNDECIDED)] if n]
    first = run[0][1]
    missing = len(rows) - len(run)
    claim = first["level"]
    return (
        f"{', '.join(counts)}, at ε = {epsilon(first)}"
        + (f"; {missing} of {len(rows)} models were not run" if missing else "")
        + ". What is known of each model is known before it is audited; accuracies in %, with 95% "
        "intervals."
        + ("" if claim is None else f" Every model is claimed to keep {100 * claim:g}%.")
    )


def _right(member: Member, result: Result) -> str:
    """Of a verdict; an inconclusive one names no truth, and is not right."""
    words = result["verdict"]["words"]
    if words in member["right"]:
        return "yes"
    return UNDECIDED if words.startswith("inconclusive") else "no"


def _known(row: tuple[Member, Result | None]) -> list[str]:
    member, result = row
    audit = f"[{result['run_id']}](audits/{result['name']}.json)" if result else NOT_RUN
    return [member["label"], member["why"], " or ".join(member["right"]), audit]


def _of_all(results: Sequence[Result]) -> list[tuple[str, str]]:
    """What the members have in common, or each of what they do not; commits and machines of all."""
    every = [dict(facts(result)) for result in results]
    own = ("defence", "BatchNorm", "fingerprint")
    told = {
        key: "; or: ".join(dict.fromkeys(each[key] for each in every))
        for key in every[0]
        if key not in own
    }
    for key in ("commit", "hardware"):
        told[key] = ", ".join(sorted({result[key] for result in results}))
    told["rules"] = "version " + ", ".join(sorted({str(result["version"]) for result in results}))
    told["time"] = f"{sum(result['seconds'] for result in results) / 60:.0f} min of audits"
    return list(told.items())


def grid_of(results: Sequence[tuple[Member, Result | None]]) -> list[list[str]]:
    """One line a model; a verdict is right where it is among the model's. None: not run."""
    head = ["Model", "Verdict", "Clean", "One draw a step", "Best attacks", "Strongest"]
    lines = [[*head, "Images, steps, draws", "Failed checks", "Right"]]
    for member, result in results:
        if result is None:
            lines.append([member["label"], NOT_RUN, *[""] * (len(lines[0]) - 2)])
            continue
        by_name = {each["name"]: each for each in result["attacks"]}
        failed = [c["title"] for c in result["checks"] if c["status"] == "fail"]
        lines.append(
            [
                member["label"],
                result["verdict"]["words"],
                *(share(by_name[name]) for name in ("clean", "pgd", "best")),
                by_name[result["strongest"]]["title"],
                "{}, {steps}, {draws}".format(result["images"], **result["budget"]),
                ", ".join(failed) or "none",
                _right(member, result),
            ]
        )
    return lines

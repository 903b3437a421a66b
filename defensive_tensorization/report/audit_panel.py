"""The panel's page: verdicts beside what is known of each model, from the audits' JSON alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..system.table import tidy
from .audits import Result, epsilon, facts, share
from .index import write_index
from .template import fill

NOT_RUN = "not run"


def write(
    members: Sequence[Mapping[str, Any]], files: Sequence[Path | None], folder: Path
) -> list[Path]:
    """`audit_panel.md` and `.csv`, each member's JSON in `audits/`, copied, and the index anew.

    files: None for a member whose audit was not run; of one at least there is a file.
    """
    (folder / "audits").mkdir(parents=True, exist_ok=True)
    results: list[tuple[Mapping[str, Any], Result]] = []
    rows: list[tuple[Mapping[str, Any], Result | None]] = []
    made = []
    for member, file in zip(members, files, strict=True):
        result = None if file is None else json.loads(file.read_text())
        rows.append((member, result))
        if file is not None and result is not None:
            copy = folder / "audits" / file.name
            copy.write_bytes(file.read_bytes())
            made.append(copy)
            results.append((member, result))
    grid = grid_of(rows)
    right = sum(line[-1] == "yes" for line in grid[1:])
    linked = [[m["label"], m["why"], _linked(r)] for m, r in results]
    page = fill(
        "audit_panel.md",
        right=right,
        audited=len(results),
        missing=len(rows) - len(results),
        epsilon=epsilon(results[0][1]),
        grid=grid,
        known=[["Model", "What is known", "Its audit"], *linked],
        facts=_of_all([r for _, r in results]),
    )
    for suffix, content in ((".md", page), (".csv", tidy(grid))):
        path = folder / f"audit_panel{suffix}"
        path.write_bytes(content.encode())
        made.append(path)
    made.append(write_index(folder))
    return made


def _linked(result: Result) -> str:
    return f"[{result['run_id']}](audits/{result['name']}.json)"


def _of_all(results: Sequence[Result]) -> list[tuple[str, str]]:
    """What the members have in common, and the commits and machines of all."""
    told = dict(facts(max(results, key=lambda result: result["scored"])))
    for key in ("defence", "BatchNorm", "fingerprint"):  # each its own
        del told[key]
    for key in ("commit", "hardware"):
        told[key] = ", ".join(sorted({result[key] for result in results}))
    told["rules"] = "version " + ", ".join(sorted({str(result["version"]) for result in results}))
    told["time"] = f"{sum(result['seconds'] for result in results) / 60:.0f} min of audits"
    return list(told.items())


def grid_of(results: Sequence[tuple[Mapping[str, Any], Result | None]]) -> list[list[str]]:
    """One line a model; a verdict is right where it is among the model's. None: not run."""
    head = ["Model", "Verdict", "Clean", "One draw a step", "Best attacks", "Strongest"]
    lines = [[*head, "Images, steps, draws", "Failed checks", "Right"]]
    for member, result in results:
        if result is None:
            lines.append([member["label"], NOT_RUN, *[""] * (len(lines[0]) - 2)])
            continue
        by_name = {each["name"]: each for each in result["attacks"]}
        failed = [c["title"] for c in result["checks"] if c["status"] == "fail"]
        words = result["verdict"]["words"]
        lines.append(
            [
                member["label"],
                words,
                *(share(by_name[name]) for name in ("clean", "pgd", "best")),
                by_name[result["strongest"]]["title"],
                "{}, {steps}, {draws}".format(result["images"], **result["budget"]),
                ", ".join(failed) or "none",
                "yes" if words in member["right"] else "no",
            ]
        )
    return lines

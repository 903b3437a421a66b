"""The rows behind the tables: run by run, with commits, commands and configuration."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from defensive_tensorization.report import attack_names
from defensive_tensorization.report.caption import commit, duration
from defensive_tensorization.report.formats import source
from defensive_tensorization.report.grid import anchor, epsilon_label
from defensive_tensorization.report.html_table import Cell, HtmlTable
from defensive_tensorization.report.template import fill
from defensive_tensorization.results.row import Row, summarise

HEADS = (
    *("Attack", "ε", "Mean", "Seeds", "Each seed", "n", "Commit", "Command", "Lines of the file"),
    *("Steps", "Further settings", "Time", "Protocol", "Shown in"),
)


@dataclass(frozen=True)
class Run:
    """The rows of one file in its order, and what of the configuration decided the weights."""

    name: str
    rows: Sequence[Row]
    identity: Mapping[str, Any] | None = None

    @cached_property
    def commands(self) -> list[str]:
        return sorted({row.command for row in self.rows})


def runs(found: Iterable[Run], shown: Mapping[str, Sequence[str]]) -> str:
    """A section a run; `shown` names the tables that hold a cell, by its anchor."""
    return fill("runs.html", runs=[_run(each, shown) for each in found])


def _run(run: Run, shown: Mapping[str, Sequence[str]]) -> dict[str, object]:
    first = run.rows[0]
    facts = {
        "scale": first.scale,
        "data": f"{first.data} ({first.data_digest})",
        "network": f"{first.model}, width {first.width}, {first.precision} weights",
        "defence": f"{first.defence}, θ = {first.theta:g}",
        "training": f"{first.epochs} epochs, seed {first.train_seed}",
        "trained at commit": _listed(row.trained_commit or "not recorded" for row in run.rows),
        "weights": _listed(row.weights or "digest not recorded" for row in run.rows),
        "hardware": _listed(row.hardware for row in run.rows),
        "software": _listed(
            ", ".join(f"{name} {version}" for name, version in sorted(row.versions.items()))
            for row in run.rows
        ),
        "recipe, fingerprint": f"{first.recipe}, {first.fingerprint}",
    }
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(run.rows):
        groups.setdefault(anchor(row), []).append(number)
    table = HtmlTable(
        f"rows of {run.name}",
        f"Rows of {run.name}: accuracies in %, by evaluation seed.",
        HEADS,
        [_line(run, numbers, shown.get(name, ())) for name, numbers in groups.items()],
        ids=list(groups),
    )
    return {
        "name": run.name,
        "source": source(first),
        "facts": facts.items(),
        "recipe": first.recipe,
        "identity": run.identity
        and json.dumps(run.identity, indent=1, sort_keys=True, ensure_ascii=False),
        "commands": run.commands,
        "table": table,
    }


def _line(run: Run, numbers: Sequence[int], shown: Sequence[str]) -> list[Cell]:
    """The rows of one cell: one network under one protocol."""
    rows = [run.rows[number] for number in numbers]
    row = rows[0]
    mean = 100 * summarise(rows).robust_mean
    seconds = sum(each.seconds for each in rows)
    knowledge = "" if row.knowledge == "fresh" else row.knowledge
    settings = [knowledge, row.options, row.input, f"{row.scored} draws score" * (row.scored > 1)]
    settings.append("" if row.batchnorm == "running" else f"BatchNorm {row.batchnorm}")
    by = sorted({run.commands.index(each.command) + 1 for each in rows})
    return [
        Cell(attack_names.shown(row.attack)),
        Cell(epsilon_label(row.attack, row.epsilon)),
        Cell(f"{mean:.2f}"),
        Cell(_span([each.eval_seed for each in rows]), len(rows)),
        Cell(" ".join(f"{100 * each.robust_accuracy:.2f}" for each in rows), f"{mean:.4f}"),
        Cell(f"{row.n:,}", row.n),
        Cell(_listed(commit(each) for each in rows)),
        Cell("", links=[(f"#command-{run.name}-{i}", f"command {i}") for i in by]),
        Cell(_span([number + 1 for number in numbers]), numbers[0] + 1),
        Cell(str(row.steps)),
        Cell("; ".join(each for each in settings if each)),
        Cell(duration(seconds), f"{seconds:.1f}"),
        Cell(row.protocol, code=True),
        Cell("", links=[(f"#{each}", each) for each in shown]),
    ]


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    if high - low + 1 == len(numbers) > 1:
        return f"{low}–{high}"
    return ", ".join(map(str, sorted(numbers)))


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(sorted(set(texts)))

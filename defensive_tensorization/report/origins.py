"""The rows behind the tables, as HTML: run by run, with commits, commands and configuration."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from defensive_tensorization.report.caption import commit, duration
from defensive_tensorization.report.formats import source
from defensive_tensorization.report.grid import anchor, attack_label
from defensive_tensorization.report.markup import cell, link, scrolled, tag
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


def runs(found: Iterable[Run], shown: Mapping[str, Sequence[str]]) -> str:
    """A section a run; `shown` names the tables that hold a cell, by its anchor."""
    return "\n".join(_run(each, shown) for each in found)


def _run(run: Run, shown: Mapping[str, Sequence[str]]) -> str:
    first = run.rows[0]
    commands = sorted({row.command for row in run.rows})
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
    listed = [
        tag("li", tag("code", escape(command)), id=_command(run.name, i))
        for i, command in enumerate(commands, 1)
    ]
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(run.rows):
        groups.setdefault(anchor(row), []).append(number)
    lines = [_cell(run, name, numbers, commands, shown) for name, numbers in groups.items()]
    caption = tag("caption", f"Rows of {escape(run.name)}: accuracies in %, by evaluation seed.")
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in HEADS)))
    table = tag("table", caption, head, tag("tbody", *lines), class_="sortable")
    return tag(
        "section",
        tag("h3", escape(run.name)),
        tag("p", "File: ", link(source(first), source(first)), "."),
        details("What it is", definitions(facts), _identity(run, first)),
        tag("p", "By the commands (with ", tag("code", "--cfg job"), ": their configuration):"),
        tag("ol", *listed),
        scrolled(table, f"rows of {run.name}"),
        id=f"run-{run.name}",
        class_="run",
    )


def details(summary: str, *inner: str) -> str:
    return tag("details", tag("summary", escape(summary)), *inner)


def definitions(facts: Mapping[str, str]) -> str:
    return tag("dl", *(tag("dt", escape(k)) + tag("dd", escape(v)) for k, v in facts.items()))


def _identity(run: Run, row: Row) -> str:
    if run.identity is None:
        return tag("p", "No table of these configurations has this run.")
    text = json.dumps(run.identity, indent=1, sort_keys=True, ensure_ascii=False)
    return tag(
        "div",
        tag("p", f"What decided its weights (recipe {escape(row.recipe)}; defaults are left out):"),
        tag("pre", tag("code", escape(text)), tabindex=0, aria_label="configuration"),
    )


def _cell(
    run: Run,
    name: str,
    numbers: Sequence[int],
    commands: Sequence[str],
    shown: Mapping[str, Sequence[str]],
) -> str:
    rows = [run.rows[number] for number in numbers]
    row = rows[0]
    mean = 100 * summarise(rows).robust_mean
    seconds = sum(each.seconds for each in rows)
    knowledge = "" if row.knowledge == "fresh" else row.knowledge
    settings = [knowledge, row.options, row.input, f"{row.scored} draws score" * (row.scored > 1)]
    settings.append("" if row.batchnorm == "running" else f"BatchNorm {row.batchnorm}")
    by = sorted({commands.index(each.command) + 1 for each in rows})
    return tag(
        "tr",
        cell(attack_label(row.attack), header=True),
        cell("" if row.attack == "clean" else f"{row.epsilon:g}"),
        cell(f"{mean:.2f}"),
        cell(_span([each.eval_seed for each in rows]), value=len(rows)),
        cell(" ".join(f"{100 * each.robust_accuracy:.2f}" for each in rows), value=f"{mean:.4f}"),
        cell(f"{row.n:,}", value=row.n),
        cell(escape(_listed(commit(each) for each in rows))),
        cell(", ".join(link(f"#{_command(run.name, i)}", f"command {i}") for i in by)),
        cell(_span([number + 1 for number in numbers]), value=numbers[0] + 1),
        cell(str(row.steps)),
        cell(escape("; ".join(each for each in settings if each))),
        cell(duration(seconds), value=f"{seconds:.1f}"),
        cell(tag("code", row.protocol)),
        cell(", ".join(link(f"#{each}", each) for each in shown.get(name, ()))),
        id=name,
    )


def _command(run: str, number: int) -> str:
    return f"command-{run}-{number}"


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    if high - low + 1 == len(numbers) > 1:
        return f"{low}–{high}"
    return ", ".join(map(str, sorted(numbers)))


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(sorted(set(texts)))

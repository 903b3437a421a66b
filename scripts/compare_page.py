"""The comparison of tools as compare_tools.csv and compare_tools.md, from its rows alone.

A cell that was not run has no `used` passes and stays blank; it is counted as missing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from defensive_tensorization.report.index import write_index
from defensive_tensorization.system.table import markdown, tidy

Line = Mapping[str, str]

FIELDS = (
    *("network", "epsilon", "tool", "version", "passes", "used", "reports"),
    *("fresh_draws", "fresh_draws_low", "fresh_draws_high"),
    *("true_at_most", "true_at_most_low", "true_at_most_high"),
    *("clean", "clean_low", "clean_high", "images", "scored"),
)
HEAD = (
    *("Network", "ε", "Clean", "Tool", "Passes: budget", "used", "The tool reports"),
    *("Fresh draws", "True, at most"),
)


def write(lines: Sequence[Line], facts: Sequence[str], folder: Path) -> list[Path]:
    """`compare_tools.csv` and `.md`, and the folder's index."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = [FIELDS, *([line.get(name, "") for name in FIELDS] for line in lines)]
    text = "\n".join(page(lines, facts)) + "\n"
    made = []
    for suffix, content in ((".csv", tidy(grid)), (".md", text)):
        made.append(folder / f"compare_tools{suffix}")
        made[-1].write_bytes(content.encode())
    return [*made, write_index(folder)]


def page(lines: Sequence[Line], facts: Sequence[str]) -> list[str]:
    run = sum(bool(line.get("used")) for line in lines)
    absent = [f"{x['tool']} on {x['network']}" for x in lines if not x.get("used")]
    missing = f"; not run: {', '.join(absent)}" if absent else ""
    return [
        "# Random resize and pad under the attacks of several tools",
        "",
        f"{run} of {len(lines)} cells were run{missing}. Robust accuracies in %, with 95% "
        "intervals. *Passes* are forward and backward, of an image.",
        "*Fresh draws*: what the tool's examples leave under draws that all tools have in common.",
        "*True, at most*: what the strongest known example of each image leaves.",
        "",
        markdown([HEAD, *map(_cells, lines)], range(len(HEAD)), tight=True),
        "",
        *(f"- {fact}" for fact in facts),
    ]


def _cells(line: Line) -> list[str]:
    reports = f"{float(line['reports']):.1f}" if line.get("used") else ""
    return [
        *(line["network"], line["epsilon"], _share(line, "clean")),
        f"{line['tool']} {line.get('version', '')}".strip(),
        *(line["passes"], line.get("used", ""), reports),
        *(_share(line, "fresh_draws"), _share(line, "true_at_most")),
    ]


def _share(line: Line, name: str) -> str:
    if not line.get(name):
        return ""
    value, low, high = (f"{float(line[name + end]):.1f}" for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"

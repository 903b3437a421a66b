"""The page of an audit, from its JSON alone: Markdown, HTML, a figure."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Result = Mapping[str, Any]
Lines = Sequence[Sequence[str]]

MARKS = {"pass": "pass", "fail": "**FAIL**", "skipped": "skipped"}
STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:72em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #bbb;padding:.3em .6em;"
    "text-align:left;vertical-align:top}.fail{background:#fbd5c9}.skipped{color:#777}img{max-width:100%}"
)


def write(result: Result, folder: Path) -> list[Path]:
    """`<name>.md`, `.html` and `.png`; the same result gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / result["name"]
    from .audit_figure import figure

    made = [figure(result, stem.parent / f"{stem.name}.png")]
    for suffix, page in ((".md", markdown(result)), (".html", web(result))):
        path = stem.parent / f"{stem.name}{suffix}"
        path.write_bytes(page.encode())
        made.append(path)
    return made


def text(result: Result) -> str:
    """For a terminal: the verdict and what failed."""
    said = result["verdict"]
    failed = [c for c in result["checks"] if c["status"] == "fail"]
    lines = [f"{result['name']}: {said['words']}", f"  {said['reason']}"]
    return "\n".join([*lines, *(f"  FAIL {c['title']}: {c['reason']}" for c in failed)])


def markdown(result: Result, picture: str | None = None) -> str:
    """picture: where the figure is, "" for none, None: beside the page."""
    source = f"{result['name']}.png" if picture is None else picture
    said = result["verdict"]
    parts = [
        f"# Audit: {result['name']}",
        "",
        f"**{said['words']}** at ε = {epsilon(result)}: {said['reason']}.",
        "",
        f"Strongest attack: {_strongest(result)}",
        "",
        "## Checks",
        "",
        *table(_checks(result)),
        "",
        "## Attacks",
        "",
        *table(_attacks(result)),
        "",
        "## Gradients",
        "",
        *table(_layers(result)),
        "",
        *([f"![gradients and loss surface]({source})", ""] if source else []),
        *(f"- {topic}: {statement}" for topic, statement in facts(result)),
        "",
    ]
    return "\n".join(parts)


def web(result: Result, picture: str | None = None) -> str:
    """picture: as above; its address, or its data as one."""
    source = f"{result['name']}.png" if picture is None else picture
    said, name = result["verdict"], html.escape(result["name"])
    words = html.escape(said["words"])
    reason = html.escape(f"at ε = {epsilon(result)}: {said['reason']}.")
    body = [
        f"<h1>Audit: {name}</h1>",
        f"<p><strong>{words}</strong> {reason}",
        f"<p>Strongest attack: {html.escape(_strongest(result))}",
        "<h2>Checks</h2>",
        _rows(_checks(result), [c["status"] for c in result["checks"]]),
        "<h2>Attacks</h2>",
        _rows(_attacks(result)),
        "<h2>Gradients</h2>",
        _rows(_layers(result)),
        *(
            [f'<img src="{html.escape(source)}" alt="gradients and loss surface">']
            if source
            else []
        ),
        "<ul>",
        *(f"<li>{html.escape(f'{t}: {s}')}</li>" for t, s in facts(result)),
        "</ul>",
    ]
    head = f'<!doctype html><meta charset="utf-8"><title>{name}</title><style>{STYLE}</style>'
    return "\n".join([head, *body, ""])


def facts(result: Result) -> list[tuple[str, str]]:
    """What the page says of its circumstances."""
    if "facts" in result:  # of anybody's model
        return [(topic, statement) for topic, statement in result["facts"]]
    b = result["budget"]
    return [
        ("network", f"{result['network']}, {result['epochs']} epochs, {result['scale']} scale"),
        (
            "defence",
            f"{result['defence']}, θ = {result['theta']:g}"
            + ("" if result["sketch"] else ", its network at θ = 1 (eval.sketch=false)"),
        ),
        ("BatchNorm", result["batchnorm"]),
        ("data", result["data"]),
        (
            "images",
            f"{result['subset']}; evaluation seed {result['eval_seed']}; attacked in "
            f"{result['autocast']}",
        ),
        (
            "budget",
            f"{b['steps']} steps, "
            + (f"{b['draws']} draws a step, " if result["random"] else "")
            + f"{b['restarts']} restarts, {b['queries']} queries; "
            + (
                f"{result['scored']} fresh draws score an image" if result["random"] else "no draws"
            ),
        ),
        ("intervals", "95%, over images and draws; they say nothing about other trainings"),
        ("fingerprint", f"{result['fingerprint']}, weights {result['weights']}"),
        ("commit", f"{result['commit']}, trained at {result['trained_commit'] or 'unknown'}"),
        ("software", ", ".join(f"{k} {v}" for k, v in sorted(result["versions"].items()))),
        ("hardware", f"{result['hardware']}, {result['seconds']:.0f} s"),
        ("command", result["command"]),
    ]


def epsilon(result: Result) -> str:
    """As one says it: in levels of 255, or an amplitude."""
    unit, epsilon = result["unit"], result["budget"]["epsilon"]
    return f"{epsilon:g}/255" if abs(unit * 255 - 1) < 1e-6 else f"{epsilon * unit:g}"


def _strongest(result: Result) -> str:
    by_name = {each["name"]: each for each in result["attacks"]}
    one, all_of = by_name[result["strongest"]], by_name["best"]
    return (
        f"{one['title']}, which leaves {share(one)}%; each image's best example leaves "
        f"{share(all_of)}%"
    )


def _checks(result: Result) -> list[list[str]]:
    lines = [["", "Check", "Found", "Rule", "Source"]]
    for c in result["checks"]:
        lines.append([MARKS[c["status"]], c["title"], c["reason"], c["rule"], c["source"]])
    return lines


def _attacks(result: Result) -> list[list[str]]:
    lines = [["Attack", "ε", "Steps", "Draws", "Restarts", "Accuracy (%)"]]
    for a in result["attacks"]:
        sizes = [a[key] for key in ("epsilon", "steps", "draws", "restarts")]
        numbers = ["" if value is None else f"{value:g}" for value in sizes]
        lines.append([a["title"], *numbers, share(a)])
    return lines


def _layers(result: Result) -> list[list[str]]:
    lines = [["Gradient by the output of", "SNR of a draw", "Cosine of two draws", "Vanishing"]]
    for each in result["layers"]:
        numbers = ["—" if each[k] is None else f"{each[k]:.3g}" for k in ("snr", "cosine")]
        lines.append([each["name"], *numbers, f"{100 * each['zero']:.1f}%"])
    return lines


def share(line: Mapping[str, Any]) -> str:
    """An accuracy in percent, with its interval."""
    return f"{100 * line['accuracy']:.1f} [{100 * line['low']:.1f}, {100 * line['high']:.1f}]"


def table(lines: Lines) -> list[str]:
    """In Markdown, the first line its head."""
    head, *body = [f"| {' | '.join(line)} |" for line in lines]
    return [head, "|" + "---|" * len(lines[0]), *body]


def _rows(lines: Lines, classes: Sequence[str] = ()) -> str:
    """A table; `**` of Markdown is left out."""
    made = ["<table>"]
    for number, line in enumerate(lines):
        cell = "td" if number else "th"
        of = f' class="{classes[number - 1]}"' if number and classes else ""
        cells = "".join(f"<{cell}>{html.escape(c.strip('*'))}</{cell}>" for c in line)
        made.append(f"<tr{of}>{cells}</tr>")
    return "\n".join([*made, "</table>"])

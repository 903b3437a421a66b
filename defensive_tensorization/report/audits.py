"""The page of an audit, from its JSON alone: Markdown, HTML, a figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from defensive_tensorization.report.template import fill

Result = Mapping[str, Any]

MARKS = {"pass": "pass", "fail": "**FAIL**", "skipped": "skipped"}


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
    """For a terminal: the verdict, what it is of, and what failed."""
    said = result["verdict"]
    failed = [c for c in result["checks"] if c["status"] == "fail"]
    draws = f", {result['scored']} draws" if result["random"] else ""
    of = f"at ε = {epsilon(result)}, {result['images']:,} images{draws}"
    lines = [f"{result['name']}: {said['words']}", f"  {of}: {said['reason']}"]
    return "\n".join([*lines, *(f"  FAIL {c['title']}: {c['reason']}" for c in failed)])


def markdown(result: Result, picture: str | None = None) -> str:
    """picture: where the figure is, "" for none, None: beside the page."""
    return fill("audit.md", **_page(result, picture))


def web(result: Result, picture: str | None = None) -> str:
    """picture: as above; its address, or its data as one."""
    statuses = [check["status"] for check in result["checks"]]
    return fill("audit.html", statuses=statuses, **_page(result, picture))


def _page(result: Result, picture: str | None) -> dict[str, object]:
    said = result["verdict"]
    return {
        "name": result["name"],
        "verdict": said["words"],
        "reason": f"at ε = {epsilon(result)}: {said['reason']}.",
        "strongest": _strongest(result),
        "checks": _checks(result),
        "attacks": _attacks(result),
        "layers": _layers(result),
        "picture": f"{result['name']}.png" if picture is None else picture,
        "facts": facts(result),
    }


def facts(result: Result) -> list[tuple[str, str]]:
    """What the page says of its circumstances."""
    if "facts" in result:  # of anybody's model
        return [(topic, statement) for topic, statement in result["facts"]]
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
        ("budget", budget(result)),
        ("intervals", "95%, over images and draws; they say nothing about other trainings"),
        ("fingerprint", f"{result['fingerprint']}, weights {result['weights']}"),
        ("commit", f"{result['commit']}, trained at {result['trained_commit'] or 'unknown'}"),
        ("software", ", ".join(f"{k} {v}" for k, v in sorted(result["versions"].items()))),
        ("hardware", f"{result['hardware']}, {result['seconds']:.0f} s"),
        ("command", result["command"]),
    ]


def budget(result: Result) -> str:
    """What an attack and its scoring may spend."""
    b, random = result["budget"], result["random"]
    draws = f"{b['draws']} draws a step, " if random else ""
    scored = f"{result['scored']} fresh draws score an image" if random else "no draws"
    return f"{b['steps']} steps, {draws}{b['restarts']} restarts, {b['queries']} queries; {scored}"


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

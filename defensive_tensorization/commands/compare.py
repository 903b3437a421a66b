"""Two evaluated networks, image by image: is the one more robust than the other?

    make compare A=RUN B=RUN

Both were attacked alike on the same images; their answers are paired, image by image
(`results.scores.difference`). The networks may differ in anything.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import config as cfg
from ..errors import UsageError, did_you_mean, in_one_line
from ..results import store
from ..results.row import Row
from ..results.scores import Interval, difference, interval
from ..system.table import console
from .pairing import Attacked, Evaluated, answers, best_pair, pairs, unlike, variants

LEVEL = 0.95
PROPERTIES: Mapping[str, Callable[[Row], object]] = {
    "network": lambda row: f"{row.model}, width {row.width}",
    "weights": lambda row: row.precision,
    "defence": lambda row: row.defence,
    "theta": lambda row: f"{row.theta:g}" if row.sketch else f"{row.theta:g}, evaluated at 1",
    "randomness": lambda row: "random" if row.random else "none",
    "BatchNorm": lambda row: row.batchnorm,
    "trained in": lambda row: row.train_autocast or "not recorded",
    "evaluated in": lambda row: row.autocast or "not recorded",
    "scoring draws": lambda row: row.scored,
    "schedule": lambda row: f"{row.scale}, {row.epochs} epochs",
    "training seed": lambda row: row.train_seed,
}
"""What may differ between two networks that are compared."""


@dataclass(frozen=True)
class Compared:
    """One attack: accuracies of both, and A minus B with its interval, as fractions."""

    attacked: Attacked
    seeds: int
    a: float
    b: float
    gap: Interval

    @property
    def verdict(self) -> str:
        if self.gap.low > 0:
            return "A keeps more"
        return "B keeps more" if self.gap.high < 0 else "no difference shown"


def rows_of(run: str, folders: Sequence[Path]) -> list[Row]:
    """The rows of a run: a file of rows, a run's name, or 8 to 16 digits of its fingerprint.

    Raises:
        UsageError: for one that is not there, or is several.
    """
    files = sorted({f.stem: f for folder in folders for f in folder.glob("*.jsonl")}.values())
    if run.endswith(".jsonl"):
        found = [Path(run)]
    else:
        found = [file for file in files if file.stem == run]
        found = found or [f for f in files if len(run) >= 8 and f.stem.endswith(run[:8])]
    rows = store.read(found[:1])
    if len(found) != 1 or not rows:
        remedy = did_you_mean(run, [file.stem for file in files], "make list shows all")
        raise UsageError(
            f"{run} has no rows in {', '.join(map(str, folders))}: {remedy}; a file of rows or 8 "
            "digits of a fingerprint will do"
        )
    return rows


def compared(a: Evaluated, b: Evaluated) -> list[Compared]:
    """Pair every attack that both met on the same images under the same seeds."""
    found = []
    for attacked, mine, other in pairs(a, b):
        ours, theirs = answers(mine), answers(other)
        a_mean, b_mean = (interval(each).estimate for each in (ours, theirs))
        gap = difference(ours, theirs, level=LEVEL)
        found.append(Compared(attacked, len(mine), a_mean, b_mean, gap))
    return sorted(found, key=lambda each: each.attacked.order)


def chosen(a: Sequence[Row], b: Sequence[Row]) -> tuple[Evaluated, Evaluated]:
    """Return the evaluations of both that are compared.

    Raises:
        UsageError: where no attack has per-image answers of both on the same images.
    """
    names = a[0].run_id, b[0].run_id
    found = [variants(rows) for rows in (a, b)]
    without = [name for name, of in zip(names, found, strict=True) if not of]
    reason = f" ({' and '.join(dict.fromkeys(without))}: no per-image answers)" if without else ""
    if not without:
        one, other = best_pair(*found)
        if any(pairs(one, other)):
            return one, other
        twice = [
            f"{name} has {at.attack} at {at.epsilon:g} by two protocols"
            for name, of in zip(names, (one, other), strict=True)
            for at in of.ambiguous[:1]
        ]
        reasons = [*twice, *(f"{_at(*at)}: {of}" for at, of in unlike(one, other).items())]
        reason = f" ({reasons[0]})" if reasons else ""
    raise UsageError(
        f"{names[0]} and {names[1]} share no attack with per-image answers of both on the same "
        f"images{reason}: evaluate both with eval.draws=30 and the same eval.images and attacks"
    )


def told(a: Evaluated, b: Evaluated, left_out: Sequence[str] = ()) -> str:
    """Both names, what differs between them, a line an attack in %, and what the interval is."""
    unlikes = [f"{_at(*at)} ({of})" for at, of in unlike(a, b).items()]
    more = [f"Attacked otherwise, not compared: {'; '.join(unlikes)}."] if unlikes else []
    for side, of in (("A", a), ("B", b)):
        if of.ambiguous:
            at = "; ".join(dict.fromkeys(_at(*each[:2]) for each in of.ambiguous))
            more.append(f"{side} has these by several protocols, not compared: {at}.")
    notes = [*more, *left_out]
    return "\n".join(
        [
            f"A  {a.first.run_id}",
            f"B  {b.first.run_id}",
            "",
            *_differences(a, b),
            _table(compared(a, b)),
            "",
            "Accuracies in %. Intervals are of the paired difference, each line alone at 95%; they",
            "cover images and draws, not training seeds. Steps are in the unit of ε. K: draws that",
            "each question of the attack averages over.",
            *notes,
        ]
    )


def _table(found: Sequence[Compared]) -> str:
    heads = ["attack", "ε", "steps", "of", "K", "images", "seeds", "A", "B", "A - B"]
    lines = [[*heads, "95% interval", ""]]
    for each in found:
        at, gap = each.attacked, each.gap
        oblivious = " (oblivious)" if at.input == "oblivious" else ""
        steps = [str(at.steps), f"{at.step_size:g}"] if at.steps else ["—", "—"]
        shares = [f"{100 * share:.1f}" for share in (each.a, each.b, gap.estimate)]
        between = f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
        counts = [str(at.averaged or "—"), str(at.n), str(each.seeds)]
        name = [at.attack + oblivious, f"{at.epsilon:g}"]
        lines.append([*name, *steps, *counts, *shares, between, each.verdict])
    return console(lines, left=(0, 11))


def _differences(a: Evaluated, b: Evaluated) -> list[str]:
    """A line for each property in which the networks or their evaluations differ."""
    lines = []
    for name, value in PROPERTIES.items():
        values = [", ".join(dict.fromkeys(str(value(row)) for row in of.all)) for of in (a, b)]
        if values[0] != values[1]:
            lines.append([name, *values])
    if not lines:
        return ["They differ in nothing that rows record but the weights.", ""]
    return [console([["they differ in", "A", "B"], *lines], left=(0, 1, 2)), ""]


def left_out(side: str, rows: Sequence[Row], of: Evaluated) -> list[str]:
    """Say which further evaluations the rows hold."""
    others = [str(each.variant) for each in variants(rows) if each.variant != of.variant]
    if not others:
        return []
    return [
        f"{side} is evaluated with {of.variant}. Its file also holds rows with "
        f"{'; with '.join(others)}: to compare those, give a file of them alone."
    ]


def _at(attack: str, epsilon: float) -> str:
    return f"{attack} at {epsilon:g}" if epsilon else attack


def main() -> None:
    """python scripts/compare.py A B [paths.runs=...] [paths.results=...]"""
    with in_one_line("paths.runs"):
        runs = [word for word in sys.argv[1:] if "=" not in word]
        if len(runs) != 2:
            raise UsageError("name two runs: make compare A=RUN B=RUN, such as those of make list")
        config = cfg.composed([word for word in sys.argv[1:] if "=" in word])
        folders = [Path(config.paths.runs) / "rows"]
        folders += sorted(Path(config.paths.results).glob("*/rows"))
        a, b = (rows_of(run, folders) for run in runs)
        ours, theirs = chosen(a, b)
        print(told(ours, theirs, [*left_out("A", a, ours), *left_out("B", b, theirs)]))

"""Two evaluated networks, image by image: is the one more robust than the other?

    make compare A=RUN B=RUN

Both were attacked on the same images; their answers are paired (`results.scores.difference`).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import config as cfg
from ..errors import UsageError, did_you_mean, in_one_line
from ..results import store
from ..results.row import Row
from ..results.scores import Answers, Interval, difference, interval
from ..system.table import console

LEVEL = 0.95
Attacked = tuple[object, ...]


@dataclass(frozen=True)
class Compared:
    """One attack: accuracies of both, and A minus B with its interval, as fractions."""

    attack: str
    epsilon: float
    images: int
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


def compared(a: Sequence[Row], b: Sequence[Row]) -> list[Compared]:
    """Every attack that both met on the same images under the same seeds.

    Raises:
        UsageError: where no such attack has per-image answers of both.
    """
    mine, other = _answers(a), _answers(b)
    found = []
    for attacked in sorted(mine.keys() & other.keys(), key=str):
        seeds = sorted(mine[attacked].keys() & other[attacked].keys())
        if not seeds:
            continue
        ours, theirs = ([of[attacked][s] for s in seeds] for of in (mine, other))
        name, epsilon, n = attacked[:3]
        a_mean, b_mean = (interval(each).estimate for each in (ours, theirs))
        gap = difference(ours, theirs, level=LEVEL)
        found.append(
            Compared(str(name), float(str(epsilon)), int(str(n)), len(seeds), a_mean, b_mean, gap)
        )
    if not found:
        raise UsageError(
            f"{a[0].run_id} and {b[0].run_id} share no attack with per-image answers of both on "
            "the same images: evaluate both with eval.draws=30 and the same eval.images and attacks"
        )
    return sorted(found, key=lambda each: (each.attack != "clean", each.attack, each.epsilon))


def _answers(rows: Sequence[Row]) -> dict[Attacked, dict[int, Answers]]:
    """By attack and images, and by evaluation seed."""
    found: dict[Attacked, dict[int, Answers]] = {}
    for row in rows:
        if not row.correct:
            continue
        attacked: Attacked = (
            row.attack,
            row.epsilon,
            row.n,
            row.subset,
            row.data_digest,
            row.steps,
        )
        attacked += (row.knowledge, row.options, row.input, row.scored, row.sketch)
        if row.eval_seed in found.setdefault(attacked, {}):
            raise UsageError(
                f"{row.run_id} has {row.attack} at {row.epsilon:g} by two protocols: give a file "
                "with the rows of one of them"
            )
        answers = Answers.decoded(row.correct, row.votes, row.by_draw)
        found[attacked][row.eval_seed] = answers
    return found


def told(a: Sequence[Row], b: Sequence[Row], found: Sequence[Compared]) -> str:
    """Both names, a line an attack in %, and what the interval is."""
    heads = ["attack", "ε", "images", "seeds", "A", "B", "A - B", "95% interval", ""]
    lines = []
    for each in found:
        gap = each.gap
        shares = [f"{100 * share:.1f}" for share in (each.a, each.b, gap.estimate)]
        between = f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
        counts = [str(each.images), str(each.seeds)]
        lines.append([each.attack, f"{each.epsilon:g}", *counts, *shares, between, each.verdict])
    table = console([heads, *lines], left=(0, 8))
    return (
        f"A  {a[0].run_id}\nB  {b[0].run_id}\n\n{table}\n\n"
        "Accuracies in %. Intervals are of the paired difference, each line alone at 95%; they "
        "cover\nimages and draws, not training seeds."
    )


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
        print(told(a, b, compared(a, b)))

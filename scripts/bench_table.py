"""What running a table's networks side by side saves, beside one after the other with all threads.

    make bench-table                       # results/bench/table.md, 13 minutes on two cores
    python scripts/bench_table.py --quick  # as small as can be, nothing written

Each is `python -m defensive_tensorization experiment=table1` in a process of its own, in turn, from
nothing: four networks and the base that three of them start from. Its data are scikit-learn's
digits, its networks those of scale=cpu (width 16) after five epochs, in the precision that
autocast=auto takes; trained alone, and trained and attacked.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from bench import Ratio, interleaved, options, over, report
from bench_commands import run

from defensive_tensorization.system import cores, processor

TRAINED = ("attack=[]", "eval.images=1")
ATTACKED = ("attack=[foolbox1_pgd,pgd]", "eval.epsilon=[8]")


def words(epochs: int, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "defensive_tensorization", "experiment=table1", "scale=cpu"),
        *("dataset=digits", f"scale.epochs={epochs}", "eval.images=100", "eval.runs=1"),
        *("device=cpu", "logger=none", *more),
    ]


def start(command: list[str], cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as own:
        paths = [f"paths.runs={own}/runs", f"paths.results={own}/results", f"dataset.cache={cache}"]
        run([*command, *paths])


def main() -> None:
    given = options(__doc__, rounds=2, epochs=5)
    count = cores.available()
    if count < 2:
        sys.exit("error: one core runs one network at a time: nothing to compare")
    native = bool(processor.bfloat16("cpu"))
    epochs = 1 if given.quick else given.epochs
    ratios: list[Ratio] = []
    seconds: dict[str, float] = {}
    for what, of in (("trained", TRAINED), ("trained and attacked", ATTACKED)):
        together, in_turn = f"side by side, {what}", f"one after the other, {what}"
        commands = {
            together: words(epochs, *of),
            in_turn: words(epochs, *of, "hydra/launcher=basic"),
        }
        with tempfile.TemporaryDirectory() as name:
            steps = {key: partial(start, command, Path(name)) for key, command in commands.items()}
            rounds = 1 if given.quick else given.rounds
            taken = interleaved(steps, torch.device("cpu"), 0.0, warm=0, rounds=rounds)
        ratios.append(over(taken, together, in_turn, 0.65 if native else 0.85))
        seconds |= {key: min(all_) for key, all_ in taken.items()}
    lines = ["| from start to end | fastest (s) |", "|---|---:|"]
    lines += [f"| {key} | {value:.1f} |" for key, value in seconds.items()]
    title = "Table 1 in small, its networks side by side"
    report("table", given, title, ratios, *lines, seconds=seconds)


if __name__ == "__main__":
    main()

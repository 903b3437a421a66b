"""Kills, stops and neighbours, against a run that nothing disturbed. `make survive`

    python scripts/survive.py                              # 50 kills, 10 of saves, 12 stops, ...
    python scripts/survive.py --kills 3 --aimed 0 --stops 0 --neighbours 0
    python scripts/survive.py --write docs/reliability.md  # what it found goes between the marks

What is done to a run is in survive_trial.py, the run itself in survive_life.py.
"""

import argparse
import os
import re
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from survive_life import FORKS
from survive_trial import Trial

from defensive_tensorization.system import provenance

MARKS = ("<!-- survive.py -->", "<!-- /survive.py -->")


def report(trial: Trial, done: dict[str, Any], took: float) -> str:
    """What happened, in Markdown."""
    lines = [
        f"Commit {provenance.commit_name()}, {provenance.hardware(torch.device('cpu'))}, "
        "one thread; "
        f"torch {torch.__version__}; the undisturbed run takes {trial.work:.1f} s of "
        f"one core, {trial.seconds:.1f} s here, "
        f"all of this {took / 60:.1f} min.",
        "",
        "| what | how often | outcome |",
        "|---|---|---|",
    ]
    for name, title in (("kills", "`kill -9`, any moment"), ("aimed", "`kill -9` during a save")):
        if name in done:
            of = done[name]
            where = ", ".join(f"{n} {phase}" for phase, n in sorted(of["phases"].items()))
            lines.append(
                f"| {title} | {sum(of['phases'].values())} ({where}) | {of['lives']} lives ended, "
                f"bit for bit the undisturbed run; {of['parts']} half-written checkpoints and "
                f"{of['torn']} torn rows were left behind, none was taken for whole |"
            )
    if done.get("stops", {}).get("code"):
        codes = Counter(done["stops"]["code"])
        seconds = done["stops"]["seconds"]
        for name, code in (("SIGTERM", 143), ("Ctrl-C", 130)):
            lines.append(
                f"| {name}, any moment | {codes[code]} | exit code {code} each time, the next "
                "start goes on, bit for bit the undisturbed run |"
            )
        code, second = done["twice"]
        lines += [
            f"| from signal to end | {len(seconds)} | median {statistics.median(seconds):.2f} s, "
            f"at most {max(seconds):.2f} s |",
            f"| Ctrl-C twice | 1 | killed by signal {-code}, {1000 * second:.0f} ms after "
            "the second; the next start goes on, bit for bit |",
        ]
    for name, title in (
        ("together", "processes with one table (3 networks)"),
        ("orphaned", "the same, `kill -9` for the one that trains theta = 0.95"),
    ):
        if name in done:
            of = done[name]
            trained = ", ".join(f"theta = {t}: {n}" for t, n in sorted(of["trained"].items()))
            codes = ", ".join(f"{n} ended with {c}" for c, n in sorted(of["codes"].items()))
            lines.append(
                f"| {title} | {sum(of['codes'].values())} processes | trainings begun: {trained}; "
                f"{of['rows']} rows, each once, equal to those of a process alone; {codes}; "
                f"{of['s']:.0f} s |"
            )
    if done.get("stops", {}).get("line"):
        lines += ["", "What a stopped run says:", ""]
        lines += [f"    {line}" for line in dict.fromkeys(map(_short, done["stops"]["line"]))]
    return "\n".join(lines)


def _short(line: str) -> str:
    return re.sub(r"batch \d+ of", "batch N of", re.sub(r"epoch \d+", "epoch N", line))


def main() -> None:
    parser = argparse.ArgumentParser(description="Kills, stops and neighbours: does it survive?")
    for name, default in (("kills", 50), ("aimed", 10), ("stops", 12), ("neighbours", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60, help="for each kind, at most")
    parser.add_argument("--write", type=Path, help="the file that holds the marks")
    options = parser.parse_args()
    ours = ("run", "experiment.plan", "attacks.library", "data.digits", "models.resnet")
    FORKS.set_forkserver_preload([f"defensive_tensorization.{each}" for each in ours])
    os.environ |= {"OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="survive") as folder:
        trial = Trial(Path(folder), options.seed, options.minutes)
        done: dict[str, Any] = {}
        if options.kills:
            done["kills"] = trial.kills(options.kills, trial.anywhen)
        if options.aimed:
            done["aimed"] = trial.kills(options.aimed, trial.while_writing)
        if options.stops:
            done["stops"], done["twice"] = trial.stops(options.stops), trial.twice()
        if options.neighbours:
            done["together"] = trial.neighbours(options.neighbours, kill=False)
            done["orphaned"] = trial.neighbours(options.neighbours, kill=True)
    text = report(trial, done, time.perf_counter() - started)
    print(text)
    if options.write:
        before, _, rest = options.write.read_text().partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        options.write.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()

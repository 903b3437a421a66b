"""Kills, stops and neighbours, against a run that nothing disturbed. `make survive`

    python scripts/survive.py                              # 50 kills, 10 of saves, 12 stops, ...
    python scripts/survive.py --kills 3 --aimed 0 --stops 0 --neighbours 0
    python scripts/survive.py --write docs/reliability.md  # what it found goes between the marks

Every process is the command line itself (`run.main`), forked from a server that has torch loaded,
so that moments fall into training and attacks rather than into imports. A life is started, killed
at a random moment (uniform in the processor time of an undisturbed run, so that a busy machine does
not move it), and started again until it ends by itself; then its weights, optimizer states, losses
and rows are compared with the undisturbed run's, bit for bit (their times apart). Linux.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from defensive_tensorization import run
from defensive_tensorization.system import provenance
from defensive_tensorization.training import checkpoint
from defensive_tensorization.training.loop import Progress

EPOCHS = 2
SMALL = (
    *("model.width=4", "model.reference=32", "train.images=96", "eval.images=10"),
    *(
        "train.batch_size=32",
        f"train.epochs={EPOCHS}",
        "eval.runs=2",
        "eval.epsilon=[4]",
        "attack=[fgsm,pgd]",
    ),
    *("dataset.cache=../data", "paths.runs=runs", "paths.results=results"),
    *("device=cpu", "logger=none"),
)
ALONE = (*SMALL, "theta=0.9")
TABLE = ("-m", *SMALL, "theta=1,0.95,0.9")
ROWS = 6  # of a network: clean, FGSM and PGD under two seeds
MARKS = ("<!-- survive.py -->", "<!-- /survive.py -->")


def program(log: Path, overrides: tuple[str, ...]) -> None:
    """One process, with what it prints in `log`."""
    os.chdir(log.parent)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    sys.argv = ["defensive_tensorization", *overrides]
    try:
        run.main()
    finally:
        log.with_suffix(".cpu").write_text(str(time.process_time()))


class Life:
    """One folder, in which processes are started, killed, and started again."""

    def __init__(self, folder: Path, overrides: tuple[str, ...]) -> None:
        self.folder, self.overrides = folder, overrides
        self.logs: list[Path] = []
        folder.mkdir()

    def start(self) -> Any:
        self.logs.append(self.folder / f"log{len(self.logs):02}")
        self.logs[-1].touch()
        process = FORKS.Process(target=program, args=(self.logs[-1], self.overrides))
        process.start()
        return process

    @property
    def log(self) -> str:
        """What the last process has printed."""
        return self.logs[-1].read_text()

    @property
    def printed(self) -> str:
        """What all of them have."""
        return "".join(log.read_text() for log in self.logs)

    def files(self, pattern: str) -> list[Path]:
        return sorted((self.folder / "runs").glob(pattern))

    def rows(self) -> list[dict[str, Any]]:
        """The whole lines; the last may be torn."""
        lines = [f.read_bytes().split(b"\n")[:-1] for f in self.files("rows/*.jsonl")]
        return [json.loads(line) for each in lines for line in each]

    def phase(self) -> str:
        epochs = {}
        for path in self.files("checkpoints/*.pt"):
            # the loader that the next start uses: None for anything that is not whole
            state = checkpoint.load(path, stored(path)["fingerprint"])
            assert state is not None, f"{path} is not whole"
            epochs[re.findall(r"theta[\d.]+", path.name)[0]] = Progress(**state["progress"]).epoch
        for theta in ("theta1", "theta0.9"):
            if epochs.get(theta, 0) < EPOCHS:
                begun = re.search(rf"^training \S+-{theta}-", self.log, re.MULTILINE)
                return f"training {theta.replace('theta', 'theta = ')}" if begun else "starting up"
        return "attacks and scoring" if len(self.rows()) < ROWS else "after the last row"

    def result(self) -> dict[str, Any]:
        """Everything that an undisturbed run must have made alike."""
        made = {path.name: stored(path)["progress"] for path in self.files("checkpoints/*.pt")}
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in self.rows()]
        return {"checkpoints": made, "rows": rows}


FORKS = multiprocessing.get_context("forkserver")


def worked(pid: int) -> float:
    """Seconds of processor time; that of a process which has just ended is not known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def stored(path: Path) -> dict[str, Any]:
    return dict(torch.load(path, weights_only=True))


def differences(left: Any, right: Any, at: str = "") -> Iterator[str]:
    """Where two results differ, the times apart."""
    if isinstance(left, dict) and isinstance(right, dict):
        yield from (f"{at}.{key}" for key in left.keys() ^ right.keys())
        for key in left.keys() & right.keys() - {"seconds"}:
            yield from differences(left[key], right[key], f"{at}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for i, pair in enumerate(zip(left, right, strict=True)):
            yield from differences(*pair, f"{at}[{i}]")
    elif isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        if left.dtype != right.dtype or not torch.equal(left, right):
            yield at
    elif left != right:
        yield at


class Trial:
    """The undisturbed run, and everything that is done to others."""

    def __init__(self, folder: Path, seed: int, minutes: float) -> None:
        self.folder, self.random, self.lives = folder, random.Random(seed), 0
        self.minutes = minutes
        first = self.life()
        self.finish(first)  # packs the data
        reference = self.life()
        self.seconds = self.finish(reference)
        self.work = float(reference.logs[-1].with_suffix(".cpu").read_text())
        self.reference = reference.result()
        assert len(self.reference["rows"]) == ROWS
        self.agrees(first)

    def life(self, overrides: tuple[str, ...] = ALONE) -> Life:
        self.lives += 1
        return Life(self.folder / f"{self.lives:03}", overrides)

    def finish(self, life: Life) -> float:
        started = time.perf_counter()
        process = life.start()
        process.join()
        assert process.exitcode == 0, life.log
        return time.perf_counter() - started

    def agrees(self, life: Life) -> None:
        assert not re.search("training again", life.printed), life.printed
        found = list(differences(life.result(), self.reference))
        assert not found, f"{life.folder} differs in {found}"
        shutil.rmtree(life.folder)

    def kills(self, count: int, moment: "Callable[[Life, Any], bool]") -> dict[str, Any]:
        """So many kill -9, each followed by another start; every life is compared at its end."""
        phases: Counter[str] = Counter()
        parts, torn, lives = 0, 0, 0
        life = self.life()
        until = time.monotonic() + 60 * self.minutes
        while phases.total() < count and time.monotonic() < until:
            process = life.start()
            landed = moment(life, process)
            if landed:
                os.kill(process.pid, signal.SIGKILL)
            process.join()
            if process.exitcode == -signal.SIGKILL:
                phases[life.phase()] += 1
                print(f"killed {phases.total()}: {dict(phases)}", file=sys.stderr)
                parts += len(life.files("checkpoints/*.part"))
                ends = [f.read_bytes() for f in life.files("rows/*.jsonl")]
                torn += sum(not end.endswith(b"\n") for end in ends if end)
            else:
                assert process.exitcode == 0, life.log
                self.agrees(life)
                lives, life = lives + 1, self.life()
        self.finish(life)
        self.agrees(life)
        return {"phases": dict(phases), "parts": parts, "torn": torn, "lives": lives + 1}

    def anywhen(self, life: Life, process: Any) -> bool:
        """At a random moment of an undisturbed run's work."""
        moment = self.random.uniform(0, self.work)
        while process.is_alive() and worked(process.pid) < moment:
            time.sleep(0.002)
        return bool(process.is_alive())

    def while_writing(self, life: Life, process: Any) -> bool:
        """As soon as a file is being written beside a checkpoint, after some have been."""
        skip = self.random.randrange(2 * EPOCHS)
        there = False
        while process.is_alive():
            now = bool(life.files("checkpoints/*.part"))
            skip -= now and not there
            if now and skip < 0:
                return True
            there = now
            time.sleep(0.0002)
        return False

    def stops(self, count: int) -> dict[str, list[Any]]:
        """SIGTERM and Ctrl-C in turn, at random moments, then on to the end."""
        found: dict[str, list[Any]] = {"code": [], "seconds": [], "line": []}
        life = self.life()
        until = time.monotonic() + 60 * self.minutes
        while len(found["code"]) < count and time.monotonic() < until:
            process = life.start()
            landed = self.anywhen(life, process)
            number = (signal.SIGTERM, signal.SIGINT)[len(found["code"]) % 2]
            at = time.perf_counter()
            if landed:
                os.kill(process.pid, number)
            process.join()
            if process.exitcode == 128 + number:
                print(f"stopped: {life.log.splitlines()[-1]}", file=sys.stderr)
                found["code"].append(process.exitcode)
                found["seconds"].append(time.perf_counter() - at)
                found["line"].append(life.log.splitlines()[-1])
                assert found["line"][-1].startswith("stopped by "), life.log
                assert "Traceback" not in life.log
            elif process.exitcode == -number:  # before the program listened, or after
                continue
            else:
                assert process.exitcode == 0, life.log
                self.agrees(life)
                life = self.life()
        self.finish(life)
        self.agrees(life)
        return found

    def twice(self) -> tuple[int, float]:
        """Ctrl-C and again: the exit code and the time from the second to the end."""
        life = self.life()
        process = life.start()
        while not re.search(r"^training ", life.log, re.MULTILINE):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.005)
        at = time.perf_counter()
        os.kill(process.pid, signal.SIGINT)
        process.join()
        took = time.perf_counter() - at
        self.finish(life)
        self.agrees(life)
        return process.exitcode, took

    def neighbours(self, count: int, kill: bool) -> dict[str, Any]:
        """So many processes with one table; `kill`: the one that trains theta = 0.95 dies of it."""
        life = self.life(TABLE)
        started = time.perf_counter()
        processes = [life.start() for _ in range(count)]
        killed = 0
        while killed < kill:
            for log, process in zip(life.logs, processes, strict=True):
                if re.search(r"^training \S+-theta0\.95-", log.read_text(), re.MULTILINE):
                    os.kill(process.pid, signal.SIGKILL)
                    killed += 1
            time.sleep(0.01)
        for process in processes:
            process.join()
        seconds = time.perf_counter() - started
        codes = Counter(process.exitcode for process in processes)
        trained = Counter(re.findall(r"^training \S+-theta([\d.]+)-", life.printed, re.MULTILINE))
        assert trained == {"1": 1, "0.95": 1 + kill, "0.9": 1}, life.printed
        assert codes == {0: count - kill, **({-signal.SIGKILL: 1} if kill else {})}, codes
        keys = [(r["fingerprint"], r["protocol"], r["eval_seed"]) for r in life.rows()]
        assert len(keys) == len(set(keys)) == 3 * ROWS, keys
        mine = life.result()
        own = [row for row in mine["rows"] if row["theta"] == 0.9]
        theirs = self.reference["rows"]
        left, right = ([{**r, "command": ""} for r in rows] for rows in (own, theirs))
        assert not list(differences(left, right)), "rows differ from those of a process alone"
        for name, progress in self.reference["checkpoints"].items():
            assert not list(differences(mine["checkpoints"][name], progress)), name
        shutil.rmtree(life.folder)
        return {"codes": dict(codes), "trained": dict(trained), "rows": len(keys), "s": seconds}


def report(trial: Trial, done: dict[str, Any], took: float) -> str:
    """What happened, in Markdown."""
    commit, dirty = provenance.commit()
    lines = [
        f"Commit {commit}{'+' * dirty}, {provenance.hardware(torch.device('cpu'))}, one thread; "
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

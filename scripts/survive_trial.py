"""What is done to a run, against a run that nothing disturbed.

A life is started, killed at a random moment (uniform in the processor time of an undisturbed run,
so that a busy machine does not move it), and started again until it ends by itself; then its
weights, optimizer states, losses and rows are compared with the undisturbed run's, bit for bit
(their times apart).
"""

import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from survive_life import ALONE, EPOCHS, ROWS, TABLE, Life, differences, worked


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

    def kills(self, count: int, moment: Callable[[Life, Any], bool]) -> dict[str, Any]:
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

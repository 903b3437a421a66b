"""The jobs of a sweep by state: one progress line, whatever launches them."""

import logging
from collections import Counter
from collections.abc import Sequence

from ..system.progress import Level

log = logging.getLogger(__name__)

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
ENDED = (DONE, FAILED)

Job = Sequence[str]


class Board(Level):
    """The level of a sweep's jobs, numbered through the sweep; a launcher reports their states.

    Args:
        name: what the line begins with, such as the experiment's name.
        batches: the jobs' overrides, launch by launch.
        rounds: the round, from 1, that each launch belongs to.
    """

    def __init__(self, name: str, batches: Sequence[Sequence[Job]], rounds: Sequence[int]) -> None:
        jobs = [job for batch in batches for job in batch]
        super().__init__(name, len(jobs), "jobs")
        self._common = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
        self._rounds = list(rounds)
        self._launches = 0
        self._states: dict[int, str] = {}
        self._why: dict[int, str] = {}

    def launch(self, first: int, jobs: Sequence[Job]) -> None:
        """The next launch begins: its jobs wait, `first` is the number of the first of them."""
        round_ = self._rounds[self._launches]
        before = self._rounds[self._launches - 1] if self._launches else 0
        self._launches += 1
        if round_ != before:
            log.info("round %d of %d", round_, self._rounds[-1])
        self._states |= {first + i: WAITING for i in range(len(jobs))}
        self._show()

    def names(self, number: int, words: Job, log_file: object) -> None:
        """Say what sets a job apart from the others, and where its log will be."""
        told = " ".join(word for word in words if word not in self._common)
        log.info("#%d %s  log %s", number, told, log_file)

    def now(self, number: int, state: str, why: str = "") -> None:
        """A job's state; `why` is the scheduler's reason, or the error of one that failed."""
        before = self._states[number]
        self._states[number], self._why[number] = state, why
        if state == before:
            self._show()
            return
        if state in ENDED:
            self.step()
        if state == FAILED:
            log.info("#%d failed: %s", number, why)
        self._show()

    def again(self, number: int) -> None:
        """Say that a job was ended to be started anew."""
        log.info("#%d is queued again, and goes on from what it saved", number)

    def _show(self) -> None:
        counts = Counter(self._states.values())
        found = [f"{counts[s]} {s}{self._reason(s)}" for s in (RUNNING, WAITING) if counts[s]]
        found += [f"{counts[FAILED]} failed"] if counts[FAILED] else []
        at = f"round {self._rounds[self._launches - 1]} of {self._rounds[-1]}"
        self.add(", ".join([at, *found]))

    def _reason(self, state: str) -> str:
        """The reason that most of the jobs of a state have."""
        whys = (self._why.get(n, "") for n, each in self._states.items() if each == state)
        common = Counter(why for why in whys if why).most_common(1)
        return f" ({common[0][0]})" if common and state == WAITING else ""

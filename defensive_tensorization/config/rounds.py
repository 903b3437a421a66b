"""Which jobs of a sweep can run at the same time: those that need no network of one another's.

A job makes its own network, and needs those that it starts from or attacks with. Whoever finds a
network being trained waits for it in its slot, so in a round every network is made by one job, from
networks of earlier rounds.
"""

from collections.abc import Sequence

from .identity import needed_by, train_config_hash
from .schema import Config

Job = list[str]


def rounds(jobs: Sequence[tuple[Job, Config]], *, together: bool = True) -> list[list[Job]]:
    """The jobs' overrides, round by round, with a job at `stage=bases` for each network that no
    other job makes. Jobs that are at that stage themselves: one for each network.

    together  False: the jobs run one after the other, in the order given.
    """
    if any(config.stage == "bases" for _, config in jobs):
        return _bases(jobs)
    if not together:
        return [[job for job, _ in jobs]]
    made: set[str] = set()
    waiting, found = list(jobs), []
    while waiting:
        now: list[Job] = []
        making: set[str] = set()
        later = []
        for job, config in waiting:
            own = train_config_hash(config)
            if _needs(config) <= made and own not in making:
                now.append(job)
                making |= {own} - made
            else:
                later.append((job, config))
        for job, config in later:
            needs = _needs(config) - made
            if needs and not needs & making:
                now.append([*job, "stage=bases"])
                making |= needs
        made |= making
        waiting = later
        found.append(now)
    return found


def _bases(jobs: Sequence[tuple[Job, Config]]) -> list[list[Job]]:
    """Each network once; a job whose networks are another's in part comes after it."""
    made: set[str] = set()
    found: list[list[Job]] = []
    for job, config in jobs:
        needs = _needs(config)
        if needs - made:
            if not found or needs & made:
                found.append([])
            found[-1].append(job)
            made |= needs
    return found


def _needs(config: Config) -> set[str]:
    return {train_config_hash(each) for each in needed_by(config)}

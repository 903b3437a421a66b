"""Whether an experiment's jobs run at the same time on this machine, when nobody said."""

import os
from collections.abc import Sequence

from ..config import Config
from ..system import cores, memory, processor

JOB = 3.0  # GiB of a job: training ResNet-18 at width 64, batch 128, takes 2
CHOICE = ("hydra/launcher", "+hydra/launcher", "~hydra/launcher", "hydra.launcher", "hydra.job.env")


def words(given: Sequence[str], jobs: Sequence[Config]) -> list[str]:
    """Hydra's words for it: joblib, a process a job, the cores shared out; [] for one by one.

    On a GPU jobs run one by one, since they would share its memory. So they do where the user
    chose a launcher, under torchrun, and where cores or memory are enough for one alone.

    Args:
        given: the words of the command line.
        jobs: the configuration of each job.
    """
    on_gpu = any(processor.on_gpu(each.device) for each in jobs)
    if on_gpu or "RANK" in os.environ or any(word.startswith(CHOICE) for word in given):
        return []
    count = min(len(jobs), cores.available(), _within_memory())
    if count < 2:
        return []
    threads = cores.available() // count
    return [
        "hydra/launcher=joblib",
        f"hydra.launcher.n_jobs={count}",
        f"hydra.job.env_set.OMP_NUM_THREADS={threads}",
    ]


def _within_memory() -> int:
    found = memory.free_and_total()
    return int(found[0] / JOB) if found else 1

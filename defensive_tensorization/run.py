"""The one entrypoint: from a configuration to a trained network, attacked, scored, in rows.

Heavy imports wait until a configuration has passed its checks.
"""

import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from . import config as cfg
from . import sweeps, tracking
from .config import Config
from .errors import end, in_one_line
from .system import cores, malloc, output, provenance, scheduled, signals
from .system.progress import finished

log = logging.getLogger(__name__)


def run(config: Config, command: str, plane: Config | None = None) -> None:
    """Make sure that the network exists, then add the rows and the panels that are missing.

    plane  the configuration whose gradient spans a landscape's plane; None: this one's.
    """
    from .experiment import loss_landscape
    from .experiment.ensure import evaluated, summary, trained
    from .experiment.evaluation_config import eval_config_hash
    from .experiment.plan import attacks, plan
    from .experiment.released_networks import check_named
    from .system.file_lock import alone
    from .training import distributed

    check_named(config.networks)
    distributed.join()
    with distributed.one_a_machine_first():
        p = plan(config)
    _tell(cfg.told(p.config))
    if config.stage == "bases":
        for each in p.needed:
            trained(each)
        return
    if config.landscape:
        loss_landscape.example(p)  # what cannot be is refused before hours of training
    of = trained(p)
    wanted = [
        config.eval.seed,
        config.eval.runs,
        *(eval_config_hash(config, a) for a in attacks(config)),
    ]
    lock = Path(f"{p.rows}.{cfg.digest(wanted, 8)}.lock")
    with distributed.at_first(alone(lock, f"measuring {p.name}")):
        rows = evaluated(p, of, command)
    log.info("%s  %s", p.name, summary(rows))
    log.info("rows %s", p.rows)
    if config.landscape:
        laid = p if plane is None else replace(p, config=plane)
        spans = of if laid is p else trained(laid)
        if distributed.first():
            log.info("panels %s", loss_landscape.ensure(p, of, laid, spans, command))


@cache
def _tell(line: str) -> None:
    """Once, for all jobs of a process."""
    log.info(line)


@hydra.main(config_path=str(cfg.CONFIGS), config_name="config", version_base="1.3")
def _job(composed: DictConfig) -> None:
    prepare()
    target: str = HydraConfig.get().launcher._target_
    launched = not target.endswith(".BasicLauncher")
    with _ended_in_one_line(launched=launched):
        scheduled.tell()
        said = HydraConfig.get().overrides
        overrides = [*said.task, *cfg.importable(list(said.hydra))]
        config = cfg.checked(composed, overrides)
        run(config, provenance.command(overrides), cfg.plane_of(config, overrides))
        if not launched:
            finished()


def prepare() -> None:
    """What each process does before its first run, of a launcher's too."""
    cores.prepare()
    malloc.keep()
    provenance.commit()  # of the code that is being loaded, not of what the tree becomes meanwhile
    quiet = os.environ.get("RANK", "0") != "0"  # torchrun's others
    level = logging.WARNING if quiet else logging.INFO
    output.log(level)


def main() -> None:
    """Exit code 2 and one line for bad input or storage, 130 or 143 where it was asked to stop."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    prepare()
    sweep = ("-m", "--multirun")
    jobs: list[Config] = []
    with _ended_in_one_line():
        given = sorted(sys.argv[1:], key=lambda word: word not in sweep)  # argparse wants it so
        flags = cfg.flags(given)
        words = [word for word in flags if word not in sweep]
        multirun = len(words) < len(flags)
        if not any(word.startswith("-") for word in words):  # such as --help, --cfg
            jobs = cfg.jobs(cfg.launched(words), multirun=multirun)
        for config in jobs:
            tracking.mode_of(config.logger.mode)
        at_once = [] if multirun or len(jobs) < 2 else sweeps.side_by_side(words, jobs)
        if at_once:
            _check_data(jobs)
        words = cfg.launched([*words, *at_once])
        sys.argv[1:] = [*(word for word in flags if word in sweep), *words]
        sweeps.register()
        with cfg.in_one_line(words):
            _job()


def _check_data(jobs: Sequence[Config]) -> None:
    """Load each data set once before the jobs start, so that missing data is reported once."""
    from .experiment.plan import plan

    for each in {repr(job.dataset): job for job in jobs}.values():
        plan(each)


@contextmanager
def _ended_in_one_line(*, launched: bool = False) -> Iterator[None]:
    """launched: a job's error is told where it was launched from, when the others have ended."""
    also = scheduled.signals() if launched else ()
    patient = launched or scheduled.by_slurm()
    try:
        listening = signals.listening(also, patient=patient)
        with nullcontext() if launched else in_one_line("paths.runs"), listening:
            yield
    except signals.Stopped as stop:
        if stop.by is signal.SIGPIPE:
            sys.exit(output.CODE)
        line = scheduled.told(stop)
        if stop.by in also and stop.by is not signal.SIGTERM:
            log.info("%s", line)
            signal.raise_signal(stop.by)  # submitit queues the job again, and ends the process
        end(line, stop.code)

"""The one entrypoint: from a configuration to a trained network, attacked, scored, in rows.

Heavy imports wait until a configuration has passed its checks.
"""

import logging
import os
import sys
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from . import config as cfg
from . import provenance
from .config import Config
from .errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from .build import Plan
    from .results import Row
    from .tracking import Run

log = logging.getLogger(__name__)


def run(config: Config, command: str) -> None:
    """Make sure that the network exists, then add the rows that are missing."""
    from .build import plan

    p = plan(config)
    network = trained(p)
    rows = evaluated(p, network, command)
    log.info("%s  %s", p.name, summary(rows))
    log.info("rows %s", p.rows)


def trained(p: "Plan") -> "nn.Module":
    """The trained network: loaded, resumed or trained, by one process while others wait for it."""
    from filelock import FileLock

    from . import checkpoint
    from .train import Progress, train

    p.checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{p.checkpoint}.lock"):
        network = p.network()
        state = checkpoint.load(p.checkpoint, p.fingerprint)
        progress = Progress(**state["progress"]) if state else None
        if progress is None and p.base:
            network.load_state_dict(trained(p.base).state_dict())
        if progress is None or progress.epoch < p.schedule.epochs:
            log.info("training %s, %d epochs", p.name, p.schedule.epochs)
            with tracker(p, "train") as mirror:

                def keep(now: Progress) -> None:
                    checkpoint.save(
                        p.checkpoint,
                        {
                            "fingerprint": p.fingerprint,
                            "config": cfg.plain(p.config),
                            "commit": provenance.commit(),
                            "hardware": provenance.hardware(p.task.train.inputs.device),
                            "progress": vars(now),
                        },
                    )
                    curves = dict(now.history[-1])
                    mirror.log(curves, epoch=int(curves.pop("epoch")))

                progress = train(
                    network,
                    p.task,
                    p.schedule,
                    p.optimizer(network),
                    p.config.seed,
                    resume=progress,
                    after_epoch=keep,
                    validate=lambda: clean_accuracy(p, network),
                    label=p.name,
                )
        network.load_state_dict(progress.network)
    return network


def clean_accuracy(p: "Plan", network: "nn.Module") -> float:
    """On the evaluation's images, one draw a batch; reported after each epoch, never selects."""
    from .evaluate import accuracy, subset

    split = subset(p.task.test, p.config.eval.images)
    return accuracy(
        p.classifier(deepcopy(network)), p.task, split, None, -1, p.config.eval.batch_size
    )


def evaluated(p: "Plan", network: "nn.Module", command: str) -> "list[Row]":
    """Every row of this evaluation: those on disk, and the missing ones as they are made."""
    from . import results
    from .build import attacks, seeds
    from .evaluate import evaluate, subset
    from .rows import protocol, row

    aimed = [None, *attacks(p.config)]
    done = {r.key: r for r in results.read([p.rows])}
    keys = {
        seed: {a: results.key(p.fingerprint, protocol(p.config, a), seed) for a in aimed}
        for seed in seeds(p.config)
    }
    missing = {s: [a for a, key in of.items() if key not in done] for s, of in keys.items()}
    wanted = [key for of in keys.values() for key in of.values()]
    if not any(missing.values()):
        return [done[key] for key in wanted]
    classifier = p.classifier(network)
    split = subset(p.task.test, p.config.eval.images)
    with tracker(p, "eval") as mirror:
        for seed, todo in missing.items():
            for score in evaluate(classifier, p.task, split, todo, seed, p.config.eval.batch_size):
                made = row(p, score, command)
                results.append(p.rows, made)
                done[made.key] = made
            if todo:
                mine = [done[key] for key in keys[seed].values()]
                log.info("%s  evaluation seed %d  %s", p.name, seed, summary(mine))
        rows = [done[key] for key in wanted]
        names = ["attack", "epsilon", "eval_seed", "clean_accuracy", "robust_accuracy", "n"]
        mirror.table("evaluation", names, [[getattr(r, n) for n in names] for r in rows])
        log.info("W&B %s", mirror.path or "disabled")
    return rows


def summary(rows: "list[Row]") -> str:
    """Accuracy in % for each attack and epsilon, mean over the evaluation seeds."""
    from . import results

    groups: dict[tuple[str, float], list[Row]] = {}
    for r in rows:
        groups.setdefault((r.attack, r.epsilon), []).append(r)
    return "  ".join(
        f"{f'{attack} {epsilon:g}'.removesuffix(' 0')} "
        f"{100 * results.summarise(group).robust_mean:.1f}"
        for (attack, epsilon), group in groups.items()
    )


def tracker(p: "Plan", job_type: str) -> "Run":
    from . import tracking

    c = p.config
    return tracking.start(
        mode=c.logger.mode,
        project=c.logger.project,
        dir=Path(c.paths.runs) / "wandb",
        name=p.name,
        group=c.experiment.name,
        job_type=job_type,
        tags=[c.scale.name, c.dataset.name, c.precision.name, c.defence.name],
        config={**cfg.plain(c), "fingerprint": p.fingerprint, "data": p.task.title},
    )


@hydra.main(config_path=str(cfg.CONFIGS), config_name="config", version_base="1.3")
def _job(composed: DictConfig) -> None:
    try:
        task_overrides = HydraConfig.get().overrides.task
        run(cfg.checked(composed), provenance.command(list(task_overrides)))
    except UsageError as error:
        _refuse(error)


def main() -> None:
    """Exit code 2 and one line for bad input; a traceback only for a bug."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    provenance.commit()  # of the code that is being loaded, not of what the tree becomes meanwhile
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        _job()
    except Exception as error:
        refused = cfg.refusal(error)
        if refused is None:
            raise
        _refuse(refused)


def _refuse(error: UsageError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)

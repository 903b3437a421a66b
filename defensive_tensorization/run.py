"""The one entrypoint: from a configuration to a trained network, attacked, scored, in rows.

Heavy imports wait until a configuration has passed its checks.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from . import config as cfg
from . import provenance, stopping, tracking
from .config import Config
from .errors import UsageError, of_storage
from .progress import Level, finished

if TYPE_CHECKING:
    from torch import nn

    from .attacks import Attack
    from .build import Plan
    from .results import Row
    from .scores import Answers

log = logging.getLogger(__name__)


def run(config: Config, command: str) -> None:
    """Make sure that the network exists, then add the rows that are missing."""
    from .build import attacks, plan
    from .locks import alone
    from .rows import protocol

    p = plan(config)
    network = trained(p)
    wanted = [config.eval.seed, config.eval.runs, *(protocol(config, a) for a in attacks(config))]
    with alone(Path(f"{p.rows}.{cfg.digest(wanted, 8)}.lock"), f"measuring {p.name}"):
        rows = evaluated(p, network, command)
    log.info("%s  %s", p.name, summary(rows))
    log.info("rows %s", p.rows)


@dataclass(frozen=True)
class Trained:
    """A network, the digest of its weights, and the commit whose code trained them."""

    network: "nn.Module"
    weights: str
    commit: str


def trained(p: "Plan") -> Trained:
    """The trained network: loaded, resumed or trained, by one process while others wait for it."""
    from . import checkpoint
    from .locks import alone
    from .pieces import within_memory
    from .train import Progress, train

    with alone(Path(f"{p.checkpoint}.lock"), f"training {p.name}"):
        network = p.network()
        state = checkpoint.load(p.checkpoint, p.fingerprint, network)
        progress = Progress(**state["progress"]) if state else None
        commit, dirty = state.get("commit", ("", False)) if state else ("", False)
        if progress is None and p.base:
            network.load_state_dict(trained(p.base).network.state_dict())
        if progress is None or progress.epoch < p.schedule.epochs:
            log.info("training %s, %d epochs", p.name, p.schedule.epochs)
            commit, dirty = provenance.commit()
            remedy = "take a smaller train.batch_size or model.width"
            with tracker(p, "train") as mirror, stopping.at_batches(), within_memory(remedy):

                def keep(now: Progress) -> None:
                    checkpoint.save(
                        p.checkpoint,
                        {
                            "fingerprint": p.fingerprint,
                            "config": cfg.plain(p.config),
                            "commit": (commit, dirty),
                            "hardware": provenance.hardware(p.task.train.inputs.device),
                            "progress": now.state(),
                        },
                    )
                    if not now.step:
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
                    perturb=p.perturb(network),
                    penalty=p.penalty,
                )
        network.load_state_dict(progress.network)
    return Trained(network, checkpoint.digest(progress.network), commit + "+" * dirty)


def clean_accuracy(p: "Plan", network: "nn.Module") -> float:
    """On the evaluation's images, one draw a batch; reported after each epoch, never selects."""
    from .evaluate import accuracy, subset

    split = subset(p.task.test, p.config.eval.images)
    return accuracy(
        p.classifier(deepcopy(network)), p.task, split, None, -1, p.config.eval.batch_size
    )


def evaluated(p: "Plan", of: Trained, command: str) -> "list[Row]":
    """Every row of this evaluation: those on disk, and the missing ones as they are made."""
    from . import results, sketching, store
    from .build import attacks, seeds
    from .evaluate import evaluate, subset
    from .rows import protocol, row

    aimed = [None, *attacks(p.config)]
    done = {r.key: r for r in store.read([p.rows])}
    if any(r.weights not in ("", of.weights) for r in done.values()):
        raise UsageError(
            f"{p.rows} holds rows of other weights than {p.checkpoint} ({of.weights}), trained "
            "anew since: move the rows away, they are made again"
        )
    keys = {
        seed: {a: results.key(p.fingerprint, protocol(p.config, a), seed) for a in aimed}
        for seed in seeds(p.config)
    }
    missing = {s: [a for a, key in each.items() if key not in done] for s, each in keys.items()}
    wanted = [key for each in keys.values() for key in each.values()]
    if not any(missing.values()):
        return [done[key] for key in wanted]
    classifier, twin = p.classifier(of.network), None
    if any(a and a.knowledge == "blackbox" for todo in missing.values() for a in todo):
        twin = p.twin.classifier(trained(p.twin).network)
    split = subset(p.task.test, p.config.eval.images)
    size, draws = p.config.eval.batch_size, p.config.eval.draws
    work = sum(passes(a, draws) for todo in missing.values() for a in todo)
    control = nullcontext() if p.config.eval.sketch else sketching.disabled(classifier)
    settled: dict[Attack | None, Answers] = {}
    level = Level(f"attacking {p.name}", work, "passes")
    with control, tracker(p, "eval") as mirror, level, stopping.at_batches():
        for seed, todo in missing.items():
            asked = (classifier, p.task, split, todo, seed, size, twin, draws, settled)
            for score in evaluate(*asked):
                made = row(p, score, command, trained_commit=of.commit, weights=of.weights)
                store.append(p.rows, made)
                done[made.key] = made
                level.step(passes(score.attack, draws))
            if todo:
                mine = [done[key] for key in keys[seed].values()]
                log.info("%s  evaluation seed %d  %s", p.name, seed, summary(mine))
        rows = [done[key] for key in wanted]
        names = ["attack", "epsilon", "eval_seed", "clean_accuracy", "robust_accuracy", "n"]
        mirror.table("evaluation", names, [[getattr(r, n) for n in names] for r in rows])
        log.info("W&B %s", mirror.path or "disabled")
    return rows


def passes(attack: "Attack | None", draws: int) -> int:
    """Forward passes that a row costs an example, a gradient counted as two more; about."""
    return draws + (3 * attack.steps * attack.draws if attack else 0)


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


def tracker(p: "Plan", job_type: str) -> tracking.Run:
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
    with _ended_in_one_line():
        overrides = list(HydraConfig.get().overrides.task)
        run(cfg.checked(composed, overrides), provenance.command(overrides))
        finished()


def main() -> None:
    """Exit code 2 and one line for bad input or storage, 130 or 143 where it was asked to stop."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    provenance.commit()  # of the code that is being loaded, not of what the tree becomes meanwhile
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    sweep = ("-m", "--multirun")
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in sweep)  # argparse wants it so
    words = [word for word in sys.argv[1:] if word not in sweep]
    jobs: list[Config] = []
    with _ended_in_one_line():
        if not any(word.startswith("-") for word in words):  # such as --help, --cfg
            jobs = cfg.jobs(words, multirun=len(words) < len(sys.argv[1:]))
        for config in jobs:
            tracking.mode_of(config.logger.mode)
        several = len(jobs) > 1
        with Level(jobs[0].experiment.name, len(jobs), "runs") if several else nullcontext():
            _job()


@contextmanager
def _ended_in_one_line() -> Iterator[None]:
    try:
        with stopping.listening():
            yield
    except UsageError as error:
        _end(f"error: {error}", 2)
    except OSError as error:
        if (refused := of_storage(error, "paths.runs")) is None:
            raise
        _end(f"error: {refused}", 2)
    except stopping.Stopped as stop:
        _end(str(stop), stop.code)


def _end(line: str, code: int) -> NoReturn:
    print(line, file=sys.stderr)
    sys.exit(code)

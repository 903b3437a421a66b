"""The one entrypoint: from a configuration to a trained network, attacked, scored, in rows.

Heavy imports wait until a configuration has passed its checks.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from . import config as cfg
from . import mirror, provenance, stopping, tracking
from .config import Config
from .errors import UsageError, end, in_one_line
from .progress import Level, finished

if TYPE_CHECKING:
    from torch import nn

    from .attacks import Attack
    from .build import Plan
    from .results import Row
    from .scores import Answers

log = logging.getLogger(__name__)


def run(config: Config, command: str, plane: Config | None = None) -> None:
    """Make sure that the network exists, then add the rows and the panels that are missing.

    plane  the configuration whose gradient spans a landscape's plane; None: this one's.
    """
    from . import distributed, landscape
    from .build import attacks, plan
    from .locks import alone
    from .rows import protocol

    distributed.join()
    with distributed.one_a_machine_first():
        p = plan(config)
    if config.stage == "bases":
        for each in p.needed:
            trained(each)
        return
    if config.landscape:
        landscape.example(p)  # what cannot be is refused before hours of training
    of = trained(p)
    wanted = [config.eval.seed, config.eval.runs, *(protocol(config, a) for a in attacks(config))]
    lock = Path(f"{p.rows}.{cfg.digest(wanted, 8)}.lock")
    with distributed.at_first(alone(lock, f"measuring {p.name}")):
        rows = evaluated(p, of, command)
    log.info("%s  %s", p.name, summary(rows))
    log.info("rows %s", p.rows)
    if config.landscape:
        laid = p if plane is None else replace(p, config=plane)
        spans = of if laid is p else trained(laid)
        if distributed.first():
            log.info("panels %s", landscape.ensure(p, of, laid, spans, command))


@dataclass(frozen=True)
class Trained:
    """A network, the digest of its weights, and the commits whose code trained them, in order."""

    network: "nn.Module"
    weights: str
    commit: str


def trained(p: "Plan") -> Trained:
    """The trained network: loaded, resumed or trained, by one process while others wait for it."""
    from . import checkpoint, distributed
    from .locks import alone
    from .pieces import within_memory
    from .train import Progress, train

    lock = alone(Path(f"{p.checkpoint}.lock"), f"training {p.name}")
    with distributed.at_first(lock):
        network = p.network()
        state = distributed.told(partial(checkpoint.load, p.checkpoint, p.fingerprint, network))
        progress = Progress(**state["progress"]) if state else None
        commits = checkpoint.commits(state) if state else []
        if progress is None and p.base:
            network.load_state_dict(trained(p.base).network.state_dict())
        if progress is None or progress.epoch < p.schedule.epochs:
            log.info("training %s, %d epochs", p.name, p.schedule.epochs)
            commit, dirty = provenance.commit()
            commits = list(dict.fromkeys([*commits, commit + "+" * dirty]))
            remedy = "take a smaller train.batch_size or model.width"
            watch = mirror.of_network(p, "train")
            with watch as watched, stopping.at_batches(), within_memory(remedy):
                mirror.training(watched, p)
                mirror.epochs(watched, progress.history if progress else [])

                def keep(now: Progress) -> None:
                    if not distributed.first():
                        return
                    checkpoint.save(
                        p.checkpoint,
                        {
                            "fingerprint": p.fingerprint,
                            "config": cfg.plain(p.config),
                            "commits": commits,
                            "hardware": provenance.hardware(p.task.train.inputs.device),
                            "progress": now.state(),
                        },
                    )
                    if not now.step:
                        mirror.epochs(watched, now.history[-1:])

                progress = train(
                    network,
                    p.task,
                    p.schedule,
                    p.optimizer(network),
                    p.config.seed,
                    resume=progress,
                    after_epoch=keep,
                    validate=partial(clean_accuracy, p, network) if distributed.first() else None,
                    label=p.name,
                    perturb=p.perturb(network),
                    penalty=p.penalty,
                    team=p.team,
                )
                mirror.trained(watched, p, progress.history)
            distributed.align(network)
        network.load_state_dict(progress.network)
    return Trained(network, checkpoint.digest(progress.network), ", ".join(commits))


def clean_accuracy(p: "Plan", network: "nn.Module") -> float:
    """On the evaluation's images, one draw a batch; reported after each epoch, never selects."""
    from .evaluate import accuracy

    split = p.task.test.part(p.config.eval.images, "eval.images")
    return accuracy(
        p.classifier(deepcopy(network)), p.task, split, None, -1, p.config.eval.batch_size
    )


def evaluated(p: "Plan", of: Trained, command: str) -> "list[Row]":
    """Every row of this evaluation: those on disk, and the missing ones as they are made."""
    from . import distributed, examples, results, sketching, store
    from .build import attacks, seeds
    from .evaluate import evaluate
    from .rows import protocol, row

    aimed = [None, *attacks(p.config)]
    done = {r.key: r for r in distributed.told(lambda: store.read([p.rows]))}
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
    split = p.task.test.part(p.config.eval.images, "eval.images")
    size, draws = p.config.eval.batch_size, p.config.eval.draws
    work = sum(passes(a, draws) for todo in missing.values() for a in todo)
    control = nullcontext() if p.config.eval.sketch else sketching.disabled(classifier)
    settled: dict[Attack | None, Answers] = {}
    level = Level(f"attacking {p.name}", work, "passes")
    with control, mirror.of_network(p, "eval") as watched, level, stopping.at_batches():
        for seed, todo in missing.items():
            hand = distributed.dealt(len(todo), seed)
            aims = [todo[i] for i in hand]
            scores = evaluate(classifier, p.task, split, aims, seed, size, twin, draws, settled)
            bare = (replace(score, attack=None) for score in scores)  # attacks cannot be sent
            for i, score in distributed.exchanged(zip(hand, bare, strict=True)):
                score = replace(score, attack=todo[i])
                made = row(p, score, command, trained_commit=of.commit, weights=of.weights)
                if distributed.first():
                    store.append(p.rows, made)
                done[made.key] = made
                level.step(passes(score.attack, draws))
            if todo:
                mine = [done[key] for key in keys[seed].values()]
                log.info("%s  evaluation seed %d  %s", p.name, seed, summary(mine))
        rows = [done[key] for key in wanted]
        mirror.evaluated(watched, p, rows)
        shown = [a for a in aimed if a]
        watched.image(mirror.EXAMPLES, lambda: examples.figure(p, classifier, shown, twin))
        log.info("W&B %s", watched.path or "disabled")
    return rows


def passes(attack: "Attack | None", draws: int) -> int:
    """Forward passes that a row costs an example, a gradient counted as two more; about."""
    return draws + (3 * attack.steps * attack.draws if attack else 0)


def summary(rows: "list[Row]") -> str:
    """Accuracy in % for each attack and epsilon, mean over the evaluation seeds."""
    from . import results

    return "  ".join(
        f"{f'{attack} {epsilon:g}'.removesuffix(' 0')} {100 * mean:.1f}"
        for (attack, epsilon), mean in results.means(rows).items()
    )


@hydra.main(config_path=str(cfg.CONFIGS), config_name="config", version_base="1.3")
def _job(composed: DictConfig) -> None:
    prepare()
    target: str = HydraConfig.get().launcher._target_
    with _ended_in_one_line(launched=not target.endswith(".BasicLauncher")):
        overrides = list(HydraConfig.get().overrides.task)
        config = cfg.checked(composed, overrides)
        run(config, provenance.command(overrides), cfg.plane_of(config, overrides))
        finished()


def prepare() -> None:
    """What each process does before its first run, of a launcher's too."""
    provenance.commit()  # of the code that is being loaded, not of what the tree becomes meanwhile
    quiet = os.environ.get("RANK", "0") != "0"  # torchrun's others
    level = logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stdout)


def main() -> None:
    """Exit code 2 and one line for bad input or storage, 130 or 143 where it was asked to stop."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    prepare()
    sweep = ("-m", "--multirun")
    words = cfg.launched(sys.argv[1:])
    sys.argv[1:] = sorted(words, key=lambda word: word not in sweep)  # argparse wants it so
    words = [word for word in sys.argv[1:] if word not in sweep]
    jobs: list[Config] = []
    with _ended_in_one_line():
        if not any(word.startswith("-") for word in words):  # such as --help, --cfg
            jobs = cfg.jobs(words, multirun=len(words) < len(sys.argv[1:]))
        for config in jobs:
            tracking.mode_of(config.logger.mode)
        elsewhere = any(word.startswith("hydra/launcher=") for word in words)
        several = len(jobs) > 1 and not elsewhere  # whose progress is told there
        with Level(jobs[0].experiment.name, len(jobs), "runs") if several else nullcontext():
            _job()


@contextmanager
def _ended_in_one_line(*, launched: bool = False) -> Iterator[None]:
    """launched: a job's error is told where it was launched from, when the others have ended."""
    try:
        with nullcontext() if launched else in_one_line("paths.runs"), stopping.listening():
            yield
    except stopping.Stopped as stop:
        end(str(stop), stop.code)

"""A plan's network and its rows: loaded, resumed, or made where they are missing."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import nn

from . import (
    checkpoint,
    distributed,
    examples,
    mirror,
    provenance,
    results,
    sketching,
    stopping,
    store,
)
from . import config as cfg
from .attacks import Attack, walks
from .build import Plan, attacks, seeds
from .errors import UsageError
from .evaluate import accuracy, evaluate
from .locks import alone
from .pieces import within_memory
from .progress import Level
from .results import Row
from .rows import protocol, row
from .scores import Answers
from .train import Progress, train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A network, the digest of its weights, and the commits whose code trained them, in order."""

    network: nn.Module
    weights: str
    commit: str


def trained(p: Plan) -> Trained:
    """The trained network: loaded, resumed or trained, by one process while others wait for it."""
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


def clean_accuracy(p: Plan, network: nn.Module) -> float:
    """On the evaluation's images, one draw a batch; reported after each epoch, never selects."""
    split = p.task.test.part(p.config.eval.images, "eval.images")
    return accuracy(
        p.classifier(deepcopy(network)), p.task, split, None, -1, p.config.eval.batch_size
    )


def evaluated(p: Plan, of: Trained, command: str) -> list[Row]:
    """Every row of this evaluation: those on disk, and the missing ones as they are made."""
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
            groups = _whole_walks(todo, together=len(split) <= size)
            hand = [i for group in distributed.dealt(len(groups), seed) for i in groups[group]]
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


def _whole_walks(todo: Sequence[Attack | None], *, together: bool) -> list[range]:
    """Places of those that one process must do."""
    found: list[range] = []
    for walk in walks(todo, together=together):
        start = found[-1].stop if found else 0
        found.append(range(start, start + (len(walk) if walk else 1)))
    return found


def passes(attack: Attack | None, draws: int) -> int:
    """Forward passes that a row costs an example, a gradient counted as two more; about."""
    if attack is None:
        return draws
    sizes = dict(attack.options).get("sizes", 0)  # of a search that few images go through whole
    return draws + 3 * attack.steps * attack.draws + (sizes if isinstance(sizes, int) else 0)


def summary(rows: list[Row]) -> str:
    """Accuracy in % for each attack and epsilon, mean over the evaluation seeds."""
    return "  ".join(
        f"{f'{attack} {epsilon:g}'.removesuffix(' 0')} {100 * mean:.1f}"
        for (attack, epsilon), mean in results.means(rows).items()
    )

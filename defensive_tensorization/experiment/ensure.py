"""A plan's network and its rows: loaded, resumed, or made where they are missing."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

from torch import nn

from ..attacks import Attack, group_by_steps
from ..results import row as results
from ..results.row import Row
from ..results.scores import Answers
from ..system import provenance
from ..training import checkpoint, distributed
from ..training.loop import Progress, train
from . import components, recording
from .classifier import Classifier
from .evaluate import Score, answers, evaluate
from .evaluation_config import eval_config_hash, row
from .plan import Plan, attacks, seeds
from .released_networks import released

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A network, the digest of its weights, and the commits whose code trained them, in order."""

    network: nn.Module
    weights: str
    commit: str


def trained(p: Plan) -> Trained:
    """The trained network: loaded, resumed, taken as it was released, or trained.

    By one process, while others wait for it.
    """
    with recording.one_process_at_a_time(p):
        network = components.network(p)
        progress, commits = recording.saved_progress(p, network)
        if progress is None and (entry := released(p, network)) is not None:
            return Trained(network, entry.weights, entry.commit)
        if progress is None and p.base:
            network.load_state_dict(trained(p.base).network.state_dict())
        if progress is None or progress.epoch < p.config.train.epochs:
            log.info("training %s, %d epochs", p.name, p.config.train.epochs)
            commits = _with_this_code(commits)
            with recording.training(p, progress, commits) as save:
                progress = _fitted(p, network, progress, save)
            distributed.align(network)
        network.load_state_dict(progress.network)
    return Trained(network, checkpoint.digest(progress.network), ", ".join(commits))


def _with_this_code(commits: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*commits, provenance.commit_name()]))


def _fitted(
    p: Plan, network: nn.Module, progress: Progress | None, save: recording.Saves
) -> Progress:
    return train(
        network,
        p.task,
        components.schedule(p),
        components.optimizer(p, network),
        p.config.seed,
        resume=progress,
        after_epoch=save,
        validate=partial(clean_accuracy, p, network) if distributed.first() else None,
        label=p.name,
        perturb=components.perturb(p, network),
        penalty=components.penalty(p),
        team=components.team(p),
    )


def clean_accuracy(p: Plan, network: nn.Module) -> float:
    """On the evaluation's images, one draw a batch; reported after each epoch, never selects."""
    split = p.task.test.part(p.config.eval.images, "eval.images")
    classifier = components.classifier(p, deepcopy(network))
    return answers(classifier, p.task, split, None, -1, p.config.eval.batch_size).accuracy


def evaluated(p: Plan, of: Trained, command: str) -> list[Row]:
    """Every row of this evaluation: those on disk, and the missing ones as they are made."""
    aimed = [None, *attacks(p.config)]
    done = recording.saved_rows(p, of.weights)
    keys = {
        seed: {
            a: results.key(p.weights_id, eval_config_hash(p.config, a), seed)
            for a in aimed
            if seed in seeds(p.config, a)
        }
        for seed in seeds(p.config)
    }
    missing = {s: [a for a, key in each.items() if key not in done] for s, each in keys.items()}

    def rows(*of_seeds: int) -> list[Row]:
        return [done[key] for seed in of_seeds for key in keys[seed].values()]

    if any(missing.values()):
        classifier, surrogate_model = (
            components.classifier(p, of.network),
            _surrogate_model(p, missing),
        )
        cache: dict[Attack | None, Answers] = {}
        every = partial(rows, *keys)
        with recording.evaluation(p, classifier, surrogate_model, missing, every) as keep:
            for seed, todo in missing.items():
                for score in _scores(p, classifier, surrogate_model, todo, seed, cache):
                    made = row(p, score, command, trained_commit=of.commit, weights=of.weights)
                    keep(made, score.attack)
                    done[made.key] = made
                if todo:
                    log.info("%s  evaluation seed %d  %s", p.name, seed, summary(rows(seed)))
    return rows(*keys)


def _surrogate_model(p: Plan, missing: Mapping[int, Sequence[Attack | None]]) -> Classifier | None:
    """The dense network that black-box attacks are computed on, where there are any."""
    if any(a and a.knowledge == "blackbox" for todo in missing.values() for a in todo):
        return components.classifier(p.surrogate_plan, trained(p.surrogate_plan).network)
    return None


def _scores(
    p: Plan,
    classifier: Classifier,
    surrogate_model: nn.Module | None,
    todo: Sequence[Attack | None],
    seed: int,
    cache: dict[Attack | None, Answers],
) -> Iterator[Score]:
    """The scores of one evaluation seed; several processes share the work, and all get all."""
    split = p.task.test.part(p.config.eval.images, "eval.images")
    size = p.config.eval.batch_size
    groups = _step_groups(todo, together=len(split) <= size)
    hand = [i for group in distributed.shard_indices(len(groups), seed) for i in groups[group]]
    aims = [todo[i] for i in hand]
    draws, images = p.config.eval.draws, p.config.eval.gradient_images
    scores = evaluate(
        classifier, p.task, split, aims, seed, size, surrogate_model, draws, cache, images
    )
    bare = (replace(score, attack=None) for score in scores)  # attacks cannot be sent
    for i, score in distributed.gather(zip(hand, bare, strict=True)):
        yield replace(score, attack=todo[i])


def _step_groups(todo: Sequence[Attack | None], *, together: bool) -> list[range]:
    """Places of those that one process must do."""
    found: list[range] = []
    for group in group_by_steps(todo, together=together):
        start = found[-1].stop if found else 0
        found.append(range(start, start + (len(group) if group else 1)))
    return found


def summary(rows: list[Row]) -> str:
    """Accuracy in % for each attack and epsilon, mean over the evaluation seeds."""
    return "  ".join(
        f"{f'{attack} {epsilon:g}'.removesuffix(' 0')} {100 * mean:.1f}"
        for (attack, epsilon), mean in results.means(rows).items()
    )

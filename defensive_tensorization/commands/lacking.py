"""What a run of a table would do: networks to train, rows to make."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from .. import config as cfg
from ..config import Config
from ..results.passes import gradients, passes
from ..results.row import Row
from .inventory import Training
from .rates import kind_of_scoring
from .work import Scoring, Work

if TYPE_CHECKING:
    from ..attacks import Attack


def lacking(
    jobs: Iterable[Config], rows: Iterable[Row], own: Iterable[Row], made: Sequence[Training]
) -> Work:
    """Return what a run of the jobs would do.

    Args:
        jobs: the configuration of each column of a table.
        rows: all that a table is made of; a job with all of its rows is not run.
        own: those of this runs folder, from which a run goes on.
        made: the trainings of this runs folder.
    """
    from ..experiment.plan import attacks
    from ..experiment.released_networks import recipes

    have = {(row.recipe, row.protocol, row.eval_seed) for row in rows}
    mine = {(row.recipe, row.protocol, row.eval_seed) for row in own}
    trained = {cfg.train_config_hash(each.config): each for each in made}
    work = Work()
    for config in jobs:
        wanted = list(_scorings(config, _taken(config, [None, *attacks(config)])))
        if all(each.key in have for each in wanted):
            continue
        work.scorings |= {each.key: each for each in wanted if each.key not in mine}
        ready = recipes(config)
        for each in (*cfg.needed_by(config), config):
            recipe = cfg.train_config_hash(each)
            left = trained[recipe].left if recipe in trained else each.train.epochs
            if left and (recipe in trained or recipe not in ready):
                work.trainings[recipe] = each, left
    return work


def _taken(
    config: Config, aimed: Sequence["Attack | None"]
) -> Iterator[tuple["Attack | None", int]]:
    """Each attack with the steps that it takes beyond the one that it continues."""
    from ..attacks import group_by_steps

    images, size = config.eval.images, config.eval.batch_size
    for group in group_by_steps(aimed, together=images is not None and images <= size):
        taken = [0, *(attack.steps for attack in group)] if group else [0, 0]
        aims: Sequence[Attack | None] = group or [None]
        yield from zip(aims, (b - a for a, b in pairwise(taken)), strict=True)


def _scorings(c: Config, taken: Iterable[tuple["Attack | None", int]]) -> Iterator[Scoring]:
    """Yield the scoring of each attack under each of its seeds."""
    from ..experiment.evaluation_config import eval_config_hash
    from ..experiment.plan import seeds

    recipe = cfg.train_config_hash(c)
    for attack, steps in taken:
        averaged = gradients(attack.draws, attack.knowledge, cfg.is_random(c)) if attack else 1
        scoring = Scoring(
            recipe,
            eval_config_hash(c, attack),
            c.eval.seed,
            kind_of_scoring(c, attack),
            c.eval.images,
            passes(c.eval.draws, steps, averaged, dict(attack.options) if attack else None),
        )
        yield from (replace(scoring, seed=seed) for seed in seeds(c, attack))

"""What a table still lacks: cells without a row, networks to train, rows to make."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from .. import config as cfg
from ..config import Config
from ..results.passes import passes
from ..results.row import Row
from .inventory import Training
from .rates import kind_of_scoring
from .work import Scoring, Work

if TYPE_CHECKING:
    from ..attacks import Attack


def lacking(
    jobs: Iterable[Config], rows: Iterable[Row], own: Iterable[Row], made: Sequence[Training]
) -> tuple[int, int, Work]:
    """How many cells the jobs of a table fill, how many have no row, and what a run would do.

    rows  all that a table is made of; own  those of this runs folder, from which a run goes on.
    """
    from ..experiment.plan import attacks, seeds
    from ..experiment.released_networks import recipes

    have = {(row.recipe, row.protocol, row.eval_seed) for row in rows}
    mine = {(row.recipe, row.protocol, row.eval_seed) for row in own}
    trained = {cfg.train_config_hash(each.config): each for each in made}
    cells: dict[tuple[object, ...], bool] = {}  # whether one has no row
    work = Work()
    for number, config in enumerate(jobs):
        wanted = [
            [_scoring(config, attack, steps, seed) for seed in seeds(config, attack)]
            for attack, steps in _taken(config, [None, *attacks(config)])
        ]
        there = [[each.key in have for each in line] for line in wanted]
        # as the report counts: a cell with rows of some seeds has a number already
        cells |= {(number, *w[0].key): not any(of) for w, of in zip(wanted, there, strict=True)}
        if all(map(all, there)):
            continue
        work.scorings |= {
            each.key: each for line in wanted for each in line if each.key not in mine
        }
        ready = recipes(config)
        for each in (*cfg.needed_by(config), config):
            recipe = cfg.train_config_hash(each)
            left = trained[recipe].left if recipe in trained else each.train.epochs
            if left and (recipe in trained or recipe not in ready):
                work.trainings[recipe] = each, left
    return len(cells), sum(cells.values()), work


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


def _scoring(config: Config, attack: "Attack | None", steps: int, seed: int) -> Scoring:
    from ..experiment.evaluation_config import eval_config_hash

    c = config
    averaged = attack.draws if attack and cfg.is_random(c) else 1
    return Scoring(
        cfg.train_config_hash(c),
        eval_config_hash(c, attack),
        seed,
        kind_of_scoring(c, attack),
        c.eval.images,
        passes(c.eval.draws, steps, averaged, dict(attack.options) if attack else None),
    )

"""Whether released networks still give, here, the accuracies that the committed rows hold.

    |here - committed| <= z sqrt(p (1 - p) / n + s^2 B / b)

n images of the same test set under one seed, of whose batches b are counted; p the committed
accuracy, one image more on either side; s its deviation between evaluation seeds of B batches; z of
a level that all comparisons keep together, 99%.
"""

import logging
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

from .. import config as cfg
from ..attacks import Attack
from ..config import Config
from ..data import Task
from ..errors import UsageError, in_one_line
from ..experiment import components
from ..experiment.evaluate import evaluate
from ..experiment.plan import Plan, attacks, plan
from ..experiment.released_networks import manifest, trained_from
from ..released import Entry, Manifest, weights
from ..results import store
from ..results.row import Row
from ..system import malloc, output
from ..system.table import console
from ..tables.table_spec import folder_of

log = logging.getLogger(__name__)

ATTACKS = ("pgd", "fgsm")  # the first that a network's rows hold, at its two smallest epsilons
LEVEL = 0.99
IMAGES = 500


@dataclass(frozen=True)
class Comparison:
    """A released network's accuracy here and in the committed rows, as fractions."""

    network: str
    attack: str
    epsilon: float
    here: float
    committed: float
    variance: float
    same_data: bool

    def allowed(self, comparisons: int) -> float:
        """How far the two may lie apart, where so many are compared."""
        share = (1 - LEVEL) / comparisons
        return NormalDist().inv_cdf(1 - share / 2) * math.sqrt(self.variance)

    def holds(self, comparisons: int) -> bool:
        return abs(self.here - self.committed) <= self.allowed(comparisons)


def compared(overrides: Sequence[str]) -> list[Comparison]:
    """Every released network of the scale against the rows of results/SCALE/rows."""
    images = [word for word in overrides if word.startswith("eval.images=")]
    config = cfg.composed([*overrides, *(() if images else (f"eval.images={IMAGES}",))])
    listed = manifest(config)
    if listed is None or not listed.entries:
        raise UsageError(
            "no network is released here: make release-networks, or name a folder or URL of "
            "networks with networks=..."
        )
    committed = store.read([folder_of(config) / "rows"])
    tasks: dict[str, Task | None] = {}
    found: list[Comparison] = []
    for entry in listed.entries.values():
        rows = [row for row in committed if row.weights == entry.weights]
        found += _of_network(entry, listed, rows, config, tasks, overrides)
    if not found:
        raise UsageError(
            f"nothing to compare: {folder_of(config) / 'rows'} holds no rows of the released "
            "networks, or their data are not here"
        )
    return found


def _of_network(
    entry: Entry,
    listed: Manifest,
    rows: Sequence[Row],
    given: Config,
    tasks: dict[str, Task | None],
    overrides: Sequence[str],
) -> Iterator[Comparison]:
    """given: the configuration that `overrides` make, whose dataset.* words are of its data."""
    was = trained_from(entry, [word for word in overrides if word.startswith("paths.")])
    was.defence.input = was.defence.prune = None  # they joined the weights later
    was.defence.name = cfg.trained_name(was.defence)
    as_trained = (was.defence.name, cfg.batchnorm(was))
    rows = [row for row in rows if (row.defence, row.batchnorm) == as_trained]
    own = was.dataset.name
    if given.dataset.name == own:
        was.dataset = given.dataset
    was.eval.images, was.device = None, given.device
    was.eval.sketch, was.eval.draws, was.attack = True, 1, {}
    aims = _aims(was, rows)
    if not (clean := _plain(rows, "clean", 0.0)):
        why = "that one draw scored" if rows else "as it was trained"
        log.info("%s has no committed rows %s", entry.name, why)
        return
    if own not in tasks:
        try:
            tasks[own] = plan(was).task
        except UsageError as error:
            if given.dataset.name == own:
                raise
            log.info("networks of %s are not compared, name dataset=%s: %s", own, own, error)
            tasks[own] = None
    task = tasks[own]
    if task is None:
        return
    p = Plan(was, task)
    network = components.network(p)
    network.load_state_dict(weights(listed, entry))
    asked = given.eval.images or IMAGES
    images = min(IMAGES, len(p.task.test)) if asked == IMAGES else asked  # sounds are fewer
    split = p.task.test.part(images, "eval.images")
    scores = evaluate(
        components.classifier(p, network),
        p.task,
        split,
        [None, *(attack for attack, _ in aims)],
        0,
        was.eval.batch_size,
    )
    batches = math.ceil(len(split) / was.eval.batch_size)
    wanted = [clean, *(of for _, of in aims)]
    for score, of in zip(scores, wanted, strict=True):
        each = [row.robust_accuracy for row in of]
        n, p_ = len(split), (fmean(each) * of[0].n + 1) / (of[0].n + 2)
        theirs = math.ceil(of[0].n / was.eval.batch_size)
        draws = stdev(each) ** 2 * theirs / batches if len(each) > 1 else 0.0
        yield Comparison(
            entry.name,
            of[0].attack,
            of[0].epsilon,
            score.robust_accuracy,
            fmean(each),
            p_ * (1 - p_) * (1 / n + 1 / of[0].n) + draws * (1 + 1 / len(each)),
            p.task.digest == entry.data_digest,
        )


def _aims(config: Config, rows: Sequence[Row]) -> list[tuple[Attack, list[Row]]]:
    """The attacks that are run, each with its committed rows."""
    for name in ATTACKS:
        epsilons = sorted({row.epsilon for row in rows if row.attack == name})[:2]
        if not epsilons:
            continue
        words = [f"dataset={config.dataset.name}", f"attack=[{name}]", f"eval.epsilon={epsilons}"]
        config.attack = cfg.composed(words).attack
        made = [(each, _plain(rows, name, each.epsilon)) for each in attacks(config)]
        return [(attack, of) for attack, of in made if of]
    return []


def _plain(rows: Sequence[Row], attack: str, epsilon: float) -> list[Row]:
    """Rows of one protocol, that with the most images and seeds, of the network as it is."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        one = row.scored == 1 or not row.random  # all draws of nothing are one
        plain = row.sketch and one and not row.options and row.knowledge == "fresh"
        if plain and (row.attack, row.epsilon) == (attack, epsilon):
            groups.setdefault(row.protocol, []).append(row)
    return max(groups.values(), key=lambda group: (group[0].n, len(group)), default=[])


def told(found: Sequence[Comparison]) -> str:
    """A line a comparison, in %."""
    heads = ["network", "attack", "ε", "committed", "here", "difference", "allowed", ""]
    lines = []
    for each in found:
        gap, allowed = each.here - each.committed, each.allowed(len(found))
        verdict = "holds" if each.holds(len(found)) else "DIFFERS"
        verdict += "" if each.same_data else " (other data)"
        shares = (each.committed, each.here, gap, allowed)
        numbers = [f"{100 * share:.1f}" for share in shares]
        lines.append([each.network, each.attack, f"{each.epsilon:g}", *numbers, verdict])
    return console([heads, *lines], left=(0, 1, 7))


def main() -> None:
    """python scripts/verify.py scale=cpu [dataset=... dataset.root=PATH] [eval.images=N]"""
    output.log(logging.INFO)
    malloc.keep()
    with in_one_line("paths.runs"):
        found = compared(sys.argv[1:])
        print(told(found))
        wrong = [each for each in found if each.same_data and not each.holds(len(found))]
        print(f"{len(found) - len(wrong)} of {len(found)} hold")
    sys.exit(1 if wrong else 0)

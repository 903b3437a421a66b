"""What surrounds a training or an evaluation: lock, processes, W&B, signals, progress, files."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

from torch import nn

from .. import config as cfg
from .. import sketching
from ..attacks import Attack
from ..errors import UsageError
from ..results import store
from ..results.passes import gradients, passes
from ..results.row import Row
from ..system import provenance, signals
from ..system.file_lock import alone
from ..system.progress import Level
from ..training import checkpoint, distributed
from ..training.loop import Progress
from ..training.microbatches import within_memory
from . import examples, wandb_log
from .classifier import Classifier
from .plan import Plan, attacks

log = logging.getLogger(__name__)

Saves = Callable[[Progress], None]
Keeps = Callable[[Row, Attack | None], None]


def one_process_at_a_time(p: Plan) -> AbstractContextManager[None]:
    """Hold the lock of the plan's checkpoint; another command waits for it."""
    return distributed.at_first(alone(Path(f"{p.checkpoint}.lock"), f"training {p.name}"))


def saved_progress(p: Plan, network: nn.Module) -> tuple[Progress | None, list[str]]:
    """Where the training of the network stands, and the commits whose code trained it so far."""
    state = distributed.broadcast(partial(checkpoint.load, p.checkpoint, p.weights_id, network))
    return (Progress(**state["progress"]), checkpoint.commits(state)) if state else (None, [])


def saved_rows(p: Plan, weights: str) -> dict[str, Row]:
    """The rows on disk by key; UsageError where they are of other weights."""
    done = {r.key: r for r in distributed.broadcast(lambda: store.read([p.rows]))}
    if other := next((r for r in done.values() if r.data_digest != p.task.digest), None):
        raise UsageError(
            f"{p.rows} holds rows on other data, {other.data} ({other.data_digest}), than "
            f"{p.task.title} ({p.task.digest}): name another folder with paths.runs"
        )
    if any(r.weights not in ("", weights) for r in done.values()):
        raise UsageError(
            f"{p.rows} holds rows of other weights than {p.checkpoint} ({weights}), trained "
            "anew since: move the rows away, they are made again"
        )
    return done


@contextmanager
def training(p: Plan, progress: Progress | None, commits: Sequence[str]) -> Iterator[Saves]:
    """Show a training to W&B and let signals wait for a batch; yields what saves its progress.

    Args:
        progress: where it starts from, None at the start.
        commits: those whose code trains it, for the checkpoint.
    """
    latest = progress or Progress()
    remedy = "take a smaller train.batch_size or model.width"
    watch = wandb_log.of_network(p, "train")
    with watch as watched, signals.at_batches(), within_memory(remedy):
        wandb_log.training(watched, p)
        wandb_log.epochs(watched, latest.history)

        def save(now: Progress) -> None:
            nonlocal latest
            latest = now
            if not distributed.first():
                return
            checkpoint.save(
                p.checkpoint,
                {
                    "fingerprint": p.weights_id,
                    "config": cfg.plain(p.config),
                    "commits": list(commits),
                    "hardware": provenance.hardware(p.task.train.inputs.device),
                    "progress": now.state(),
                },
            )
            if not now.step:
                wandb_log.epochs(watched, now.history[-1:])

        yield save
        wandb_log.trained(watched, p, latest.history)


@contextmanager
def evaluation(
    p: Plan,
    classifier: Classifier,
    surrogate_model: nn.Module | None,
    missing: Mapping[int, Sequence[Attack | None]],
    rows: Callable[[], Sequence[Row]],
) -> Iterator[Keeps]:
    """Show an evaluation to W&B and on the console; yields what appends a row to the file.

    Args:
        missing: the attacks to make by evaluation seed, None for the clean images.
        rows: gives all rows of the evaluation once it is done.
    """
    draws = p.config.eval.draws
    random = cfg.is_random(p.config)
    work = sum(cost(attack, draws, random) for todo in missing.values() for attack in todo)
    control = nullcontext() if p.config.eval.sketch else sketching.disabled(classifier)
    level = Level(f"attacking {p.name}", work, "passes")
    with control, wandb_log.of_network(p, "eval") as watched, level, signals.at_batches():

        def keep(made: Row, attack: Attack | None) -> None:
            if distributed.first():
                store.append(p.rows, made)
            # the clean row is too short to tell the rate of attacks: most of it is starting up
            level.step(cost(attack, draws, random), free=attack is None)

        yield keep
        wandb_log.evaluated(watched, p, rows())
        shown = attacks(p.config)
        watched.image(
            wandb_log.EXAMPLES, lambda: examples.figure(p, classifier, shown, surrogate_model)
        )
        log.info("W&B %s", watched.path or "disabled")


def cost(attack: Attack | None, draws: int, random: bool) -> int:
    """Of a row of this attack, in passes an example."""
    if attack is None:
        return draws
    averaged = gradients(attack.draws, attack.knowledge, random)
    return passes(draws, attack.steps, averaged, dict(attack.options))

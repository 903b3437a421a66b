"""What of the work W&B is shown, and under which names: `dashboard` draws these."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import config as cfg
from .. import tracking
from ..config import Config
from ..results import row as results
from ..results.row import Row
from ..system import scheduled

if TYPE_CHECKING:
    from .plan import Plan

AXES = {"train": "epoch", "eval": "epsilon"}  # of a job's curves
CURVES = ("loss", "accuracy", "lr", "seconds")  # of a training, one point an epoch
CLEAN, TRAINED_S, SCORED_S = "clean_accuracy", "train_seconds", "eval_seconds"
EXAMPLES, SOUNDS, EVALUATION = "examples", "audio", "evaluation"


def curve(attack: str) -> str:
    """Robust accuracy under one attack, against epsilon."""
    return f"robust/{attack}"


def cell(attack: str, epsilon: float) -> str:
    """Robust accuracy at one epsilon, a final value; W&B takes a dot for a level."""
    return f"robust_at/{attack}_{epsilon:g}".replace(".", "_")


def figure(name: str) -> str:
    return f"{name}_figure"


def setting(config: Config) -> str:
    """What must agree before accuracies may stand in one panel."""
    return f"{config.dataset.name} at {config.scale.name} scale"


def label(config: Config) -> str:
    """The network in a legend: `dense`, `θ=0.9`, `xnor θ=0.9 adversarial_pgd, omniscient`."""
    conv, name = config.defence.conv, config.defence.name
    words = [config.precision.name] if config.precision._target_ else []
    words += [f"θ={conv.theta:g}"] if conv else []
    words += [] if name in ("none", "tensorization") else [name]
    used = {attack.knowledge or "fresh" for attack in config.attack.values()}
    known = list(used - {"fresh"}) if len(used) == 1 else []
    control = [] if config.eval.sketch else ["scored at θ=1"]
    return ", ".join([" ".join(words) or "dense", *known, *control])


def opened(config: Config, job_type: str, name: str, **facts: Any) -> tracking.Run:
    """The W&B run of one step of the work, as the configuration's logger wants it."""
    from ..training import distributed

    told = {"label": label(config), "setting": setting(config), **facts}
    if scheduled.restarts():
        told["queued_again"] = scheduled.restarts()
    return tracking.start(
        mode=config.logger.mode if distributed.first() else "disabled",
        project=config.logger.project,
        dir=Path(config.paths.runs) / "wandb",
        name=name,
        group=config.experiment.name,
        job_type=job_type,
        tags=[config.scale.name, config.dataset.name, job_type],
        config=cfg.plain(config) | told,
        axis=AXES.get(job_type, ""),
        artifacts=config.logger.artifacts,
    )


def of_network(p: "Plan", job_type: str) -> tracking.Run:
    """The W&B run of a network's training or evaluation."""
    return opened(p.config, job_type, p.name, fingerprint=p.weights_id, data=p.task.title)


def epochs(run: tracking.Run, history: Iterable[dict[str, float]]) -> None:
    """A point for each line of a training's history."""
    for line in history:
        run.log({name: line[name] for name in CURVES if name in line}, at=line["epoch"])


def training(run: tracking.Run, p: "Plan") -> None:
    """What a training starts from: the data, and the weights of another run."""
    run.used(dataset(p))
    if p.base:
        run.used(checkpoint(p.base))


def trained(run: tracking.Run, p: "Plan", history: Sequence[dict[str, float]]) -> None:
    """What a training made, and what it cost."""
    run.summary({TRAINED_S: sum(line["seconds"] for line in history)})
    run.made(checkpoint(p))


def evaluated(run: tracking.Run, p: "Plan", rows: Sequence[Row]) -> None:
    """What an evaluation starts from and what it made: the rows, and their means."""
    names = ["attack", "epsilon", "steps", "options", "eval_seed"]
    names += [CLEAN, "robust_accuracy", "n", "seconds"]
    run.table(EVALUATION, names, [[getattr(row, name) for name in names] for row in rows])
    scores(run, rows)
    run.used(checkpoint(p))
    run.made(row_file(p.rows))


def scores(run: tracking.Run, rows: Sequence[Row]) -> None:
    """Means over the evaluation seeds, as curves over epsilon (clean at 0) and final values."""
    means = results.means(rows)
    clean = means.pop(("clean", 0.0))
    attacks = list(dict.fromkeys(attack for attack, _ in means))
    run.log({curve(attack): clean for attack in attacks}, at=0.0)
    for epsilon in sorted({epsilon for _, epsilon in means}):
        run.log({curve(a): means[a, epsilon] for a in attacks if (a, epsilon) in means}, at=epsilon)
    run.summary({CLEAN: clean, SCORED_S: sum(row.seconds for row in rows)})
    run.summary({cell(*at): mean for at, mean in means.items()})


def dataset(p: "Plan") -> tracking.Item:
    """The data by their digest alone: they are not ours to upload."""
    task = p.task
    facts = {"title": task.title, "digest": task.digest, "classes": len(task.classes)}
    counts = {"train": len(task.train), "test": len(task.test)}
    return tracking.Item(f"{task.name}-{task.digest[:8]}", "dataset", facts | counts)


def checkpoint(p: "Plan") -> tracking.Item:
    facts = {"fingerprint": p.weights_id, "epochs": p.config.train.epochs}
    return tracking.Item(f"{p.name}-checkpoint", "checkpoint", facts, (p.checkpoint,), large=True)


def row_file(path: Path) -> tracking.Item:
    return tracking.Item(f"{path.stem}-rows", "rows", files=(path,))


def rendered(config: Config, files: Iterable[Path]) -> tracking.Item:
    """A table in every form, and its figure."""
    name = f"{config.experiment.name}-{config.dataset.name}-{config.scale.name}"
    mine = tuple(file for file in files if file.stem.startswith(config.experiment.name))
    return tracking.Item(name, "table", {"setting": setting(config)}, mine)

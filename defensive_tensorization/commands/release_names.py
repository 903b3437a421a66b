"""Which trainings of a runs folder are finished, and what each is called once it is released."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import config as cfg
from ..config import Config
from ..data import Task
from ..errors import UsageError
from ..experiment.plan import Plan, plan
from ..training import checkpoint
from .inventory import Training, trainings


@dataclass(frozen=True)
class Finished:
    """A training that reached its last epoch, and the plan that it was made from."""

    training: Training
    plan: Plan
    path: Path


def finished(config: Config, overrides: Sequence[str], only: Sequence[str] = ()) -> list[Finished]:
    """Of the scale, and of those whose name has a word of `only`, where it holds any.

    UsageError where there are none, or one was trained on other data than it says.
    """
    folder = Path(config.paths.runs) / "checkpoints"
    made = [t for t in trainings(folder) if t.config.scale.name == config.scale.name and not t.left]
    made = [t for t in made if not only or any(word in t.name for word in only)]
    if not made:
        raise UsageError(
            f"{folder} has no finished training at scale={config.scale.name}: train first, or "
            "name another folder with paths.runs and another scale"
        )
    tasks: dict[str, Task] = {}
    found = []
    for each in made:
        own = cfg.amended(each.config, overrides)
        key = cfg.digest(cfg.plain(own.dataset), 16)
        p = Plan(own, tasks[key]) if key in tasks else plan(own)
        tasks[key] = p.task
        path = folder / f"{each.name}.pt"
        if checkpoint.described(path)[0] != p.weights_id:
            raise UsageError(
                f"{path} was trained on other data than {p.task.title} ({p.task.digest}): name "
                "its data with dataset.root"
            )
        found.append(Finished(each, p, path))
    return found


def names(found: Sequence[Finished]) -> dict[str, Finished]:
    """GROUP/NETWORK by what they are; what makes one differ from the usual follows its name."""
    at = [(_group(each.plan.config), _member(each.plan.config)) for each in found]
    more = [_particulars(each.plan) for each in found]
    usual = {
        group: [Counter(column).most_common(1)[0][0] for column in zip(*of, strict=True)]
        for group in {group for group, _ in at}
        for of in [[m for (g, _), m in zip(at, more, strict=True) if g == group]]
    }
    taken: dict[str, list[tuple[str, Finished]]] = {}
    for (group, member), particulars, each in zip(at, more, found, strict=True):
        odd_ones = [p for p, u in zip(particulars, usual[group], strict=True) if p != u]
        taken.setdefault(f"{group}/{member}", []).append(("-".join(odd_ones), each))
    named = {}
    for name, those in taken.items():
        apart = len(those) > 1
        for odd, each in those:
            full = f"{name}-{odd}" if apart and odd else name
            if full in named:
                full = f"{full}-{each.plan.weights_id[:6]}"
            named[full] = each
    return named


def _group(config: Config) -> str:
    return f"{config.dataset.name}-{config.model.name}-w{config.model.width}"


def _member(config: Config) -> str:
    conv, name = config.defence.conv, cfg.trained_name(config.defence)
    parts = [config.precision.name] if config.precision.name != "real" else []
    dense = "dense-continued" if config.train.init == "dense" else "dense"
    parts += [dense] if name == "none" else [name] if name != "tensorization" else []
    parts += [f"theta-{conv.theta:g}"] if conv else []
    return "-".join([*parts, *([f"seed-{config.seed}"] if config.seed else [])])


def _particulars(p: Plan) -> list[str]:
    c, conv = p.config, p.config.defence.conv
    modes = f"min_dim-{conv.min_dim}" if conv and conv.theta < 1 else ""
    return [
        c.train.name,
        f"{c.train.epochs}-epochs",
        f"{c.train.images or 'all'}-images",
        f"batchnorm-{cfg.batchnorm(c)}",
        modes,
    ]

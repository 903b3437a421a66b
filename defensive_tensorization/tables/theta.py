"""The question that a theta sweep ends with: how accuracy goes with theta, for one recipe."""

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .. import config as cfg
from ..config import Config
from ..errors import UsageError, in_one_line
from ..report.caption import measured
from ..report.selection import one_training
from ..report.theta import Point, figure, text
from ..results import store
from ..results.row import Row, summarise
from ..system.table import tidy
from .table_spec import folder_of


def plotted(words: Sequence[str]) -> list[Path]:
    """Write figure and csv of a sweep to paths.runs/theta; print the numbers.

    Args:
        words: those of the multirun without -m. Of `theta=1,0.9` the values are taken; without
            one, every theta that has rows of this recipe.

    Raises:
        UsageError: where another key is swept, or the recipe has no rows.
    """
    swept = [word for word in words if word.startswith("theta=")]
    rest = [word for word in words if not word.startswith("theta=")]
    config = cfg.jobs(rest)
    if len(config) != 1:
        raise UsageError("an experiment holds several recipes: name one network's own settings")
    base = config[0]
    if base.defence.conv is None:
        raise UsageError(f"defence={base.defence.name} has no theta: take defence=tensorization")
    runs = Path(base.paths.runs)
    folders = [runs / "rows", folder_of(base) / "rows"]
    rows = store.read(folders)
    own = {row.key for row in store.read(folders[:1])}
    thetas = _thetas(swept, rows)
    cells = {theta: cfg.composed([*rest, f"theta={theta:g}"]) for theta in thetas}
    dense = cfg.composed([*rest, "defence=none", "theta=1"])
    named = {**{f"{theta:g}": cell for theta, cell in cells.items()}, "dense": dense}
    of = {theta: _of_one_training(theta, cell, rows, own) for theta, cell in named.items()}
    if len({row.data_digest for each in of.values() for row in each}) > 1:
        raise UsageError("the networks have rows of several data: move those of one away")
    found = {theta: _evaluated(cell, of[theta]) for theta, cell in named.items()}
    points = [_point(theta, each) for theta, groups in found.items() for each in groups]
    if not any(point.theta != "dense" for point in points):
        sweep = " ".join([*rest, *(swept or ["theta=1,0.95,0.9,0.8"])])
        raise UsageError(
            f"{folders[0]} has no rows of this recipe: run it, python -m defensive_tensorization "
            f"-m {sweep}; words that change the training change the recipe"
        )
    about = _about(base, [row for groups in found.values() for each in groups for row in each])
    print(text(points, about))
    had = {point.theta for point in points}
    shown = {f"{t:g}": cell for t, cell in cells.items() if swept or f"{t:g}" in had}
    if gaps := missing(points, shown):
        asked = words if swept else [*rest, f"theta={','.join(shown)}"]
        print(f"no rows of {gaps}: run python -m defensive_tensorization -m {' '.join(asked)}")
    name = cfg.run_id(base, cfg.digest([cfg.train_config_hash(c) for c in cells.values()], 8))
    path = runs / "theta" / name.replace(f"theta{base.theta:g}", "theta")
    path.parent.mkdir(parents=True, exist_ok=True)
    made = [figure(points, about, Path(f"{path}.png")), _csv(points, Path(f"{path}.csv"))]
    for each in made:
        print(f"wrote {each}")
    return made


def missing(points: Sequence[Point], cells: Mapping[str, Config]) -> str:
    """Return which attacks lack rows at which theta, "pgd at theta=1, 0.9"; "" for none.

    Of an attack that lacks some of its epsilons these are named.
    """
    from ..experiment.plan import attacks

    there = {(point.theta, point.attack, point.epsilon) for point in points}
    at: dict[str, list[str]] = {}
    for theta, config in cells.items():
        wanted: dict[str, list[float]] = {"clean": [0.0]}
        for attack in attacks(config):
            wanted.setdefault(attack.name, []).append(attack.epsilon)
        for name, epsilons in wanted.items():
            lacks = [e for e in epsilons if (theta, name, e) not in there]
            if lacks:
                some = f" (ε = {', '.join(f'{e:g}' for e in lacks)})"
                at.setdefault(name + some * (lacks != epsilons), []).append(theta)
    return "; ".join(f"{name} at theta={', '.join(thetas)}" for name, thetas in at.items())


def _thetas(swept: Sequence[str], rows: Sequence[Row]) -> list[float]:
    """In descending order."""
    if not swept:
        return sorted({row.theta for row in rows if row.defence != "none"}, reverse=True)
    texts = swept[-1].partition("=")[2].split(",")
    try:
        return sorted({float(each) for each in texts}, reverse=True)
    except ValueError:
        raise UsageError(f"{swept[-1]}: write theta=1,0.95,0.9") from None


def _of_one_training(
    theta: str, config: Config, rows: Sequence[Row], own: Collection[str]
) -> list[Row]:
    """Return the rows of one training of the network.

    A network can be trained anew with the same configuration. The training in the runs folder
    stands, and committed rows of other weights are left out.

    Args:
        own: the keys of the rows in the runs folder.

    Raises:
        UsageError: where the rows are of two trainings and the folder does not say which stands.
    """
    recipe = cfg.train_config_hash(config)
    mine = [row for row in rows if row.recipe == recipe and row.sketch]
    here = [row for row in mine if row.key in own]
    weights = {row.weights for row in here}
    return one_training(
        [row for row in mine if not here or row.weights in weights], f"theta={theta}"
    )


def _evaluated(config: Config, mine: Sequence[Row]) -> list[list[Row]]:
    """The rows of each attack and epsilon that the configuration evaluates."""
    from ..experiment.evaluation_config import eval_config_hash
    from ..experiment.plan import attacks

    protocols = [eval_config_hash(config, attack) for attack in (None, *attacks(config))]
    found = ([row for row in mine if row.protocol == protocol] for protocol in protocols)
    return [each for each in found if each]


def _point(theta: str, rows: Sequence[Row]) -> Point:
    s, row = summarise(rows), rows[0]
    return Point(theta, row.attack, row.epsilon, s.robust_mean, s.robust_std, s.n, s.seeds)


def _about(config: Config, rows: Sequence[Row]) -> str:
    """Of the rows that are shown: the network, its training, data, n and seeds."""
    return (
        f"{config.model.name}, width {config.model.width}, {config.precision.name} weights, "
        f"{config.defence.name}; {config.train.epochs} epochs ({config.train.name}), training "
        f"seed {config.seed}. {measured(rows)}"
    )


def _csv(points: Sequence[Point], path: Path) -> Path:
    path.write_bytes(tidy([Point._fields, *points]).encode())
    return path


def main() -> None:
    """python scripts/plot_theta.py [key=value ...] [theta=1,0.95,0.9]"""
    with in_one_line("paths.runs"):
        plotted(sys.argv[1:])

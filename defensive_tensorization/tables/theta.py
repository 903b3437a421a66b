"""The question that a theta sweep ends with: how accuracy goes with theta, for one recipe."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import config as cfg
from ..config import Config
from ..errors import UsageError, in_one_line
from ..report.theta import Point, figure, text
from ..results import store
from ..results.row import Row, summarise
from ..system.table import tidy


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
    config = cfg.jobs([*rest, "theta=0.9"])
    if len(config) != 1:
        raise UsageError("an experiment holds several recipes: name one network's own settings")
    base = config[0]
    if base.defence.conv is None:
        raise UsageError(f"defence={base.defence.name} has no theta: take defence=tensorization")
    runs = Path(base.paths.runs)
    folders = [runs / "rows", Path(base.paths.results) / base.scale.name / "rows"]
    rows = store.read(folders)
    thetas = _thetas(swept, rows)
    cells = {theta: cfg.composed([*rest, f"theta={theta:g}"]) for theta in thetas}
    points = [p for theta, cell in cells.items() for p in _points(f"{theta:g}", cell, rows)]
    dense = cfg.composed([*rest, "defence=none", "theta=1"])
    points += _points("dense", dense, rows)
    if not any(point.theta != "dense" for point in points):
        raise UsageError(
            f"{folders[0]} has no rows of this recipe: run it, python -m defensive_tensorization "
            f"-m {' '.join(rest)} theta=1,0.95,0.9,0.8; words that change the training change the "
            "recipe"
        )
    about = _about(base, rows)
    print(text(points, about))
    had = {point.theta for point in points}
    shown = {f"{t:g}": cell for t, cell in cells.items() if swept or f"{t:g}" in had}
    if gaps := missing(points, shown):
        print(f"no rows of {gaps}: run python -m defensive_tensorization -m {' '.join(words)}")
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


def _points(theta: str, config: Config, rows: Sequence[Row]) -> list[Point]:
    """Of one network, each attack and epsilon that the configuration evaluates."""
    from ..experiment.evaluation_config import eval_config_hash
    from ..experiment.plan import attacks

    recipe = cfg.train_config_hash(config)
    mine = [row for row in rows if row.recipe == recipe and row.sketch]
    if len({row.data_digest for row in mine}) > 1:
        raise UsageError(f"theta={theta} has rows of several data: move those of one away")
    found = []
    for attack in (None, *attacks(config)):
        protocol = eval_config_hash(config, attack)
        of = [row for row in mine if row.protocol == protocol]
        if of:
            s = summarise(of)
            name, epsilon = (attack.name, attack.epsilon) if attack else ("clean", 0.0)
            found.append(Point(theta, name, epsilon, s.robust_mean, s.robust_std, s.n, s.seeds))
    return found


def _about(config: Config, rows: Sequence[Row]) -> str:
    titles = {row.data for row in rows if row.dataset == config.dataset.name}
    return (
        f"{config.model.name}, width {config.model.width}, {config.precision.name} weights, "
        f"{config.defence.name}; {', '.join(sorted(titles)) or config.dataset.name}; "
        f"{config.train.epochs} epochs ({config.train.name}), seed {config.seed}"
    )


def _csv(points: Sequence[Point], path: Path) -> Path:
    path.write_bytes(tidy([Point._fields, *points]).encode())
    return path


def main() -> None:
    """python scripts/plot_theta.py [key=value ...] [theta=1,0.95,0.9]"""
    with in_one_line("paths.runs"):
        plotted(sys.argv[1:])

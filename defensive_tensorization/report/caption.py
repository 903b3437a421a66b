"""What a caption says about the rows behind a table or a figure."""

import math
from collections.abc import Callable, Iterable, Sequence

from defensive_tensorization.report.attack_names import shown
from defensive_tensorization.report.selection import Column
from defensive_tensorization.results.landscape_panels import About
from defensive_tensorization.results.row import Row

SCALES = {
    "paper": "the printed schedule and width",
    "fast": "full width, and a short schedule and recipe, not the paper's",
    "wide": "full width, and a short schedule and recipe for two cores, not the paper's",
    "cpu": "short schedule, not the paper's; width 16 unless stated",
    "smoke": "seconds of training, shows only that every part runs",
}
AS_PRINTED = {  # (scale, data set) that keep the network and the epochs of the paper
    (scale, "speech_commands"): "the printed width and epochs" for scale in ("cpu", "wide", "fast")
}

Facts = tuple[tuple[str, str], ...]


def facts(columns: Sequence[Column], rows: Sequence[Row]) -> Facts:
    """(topic, statement) pairs; where rows disagree, every value is listed."""
    if not rows:
        return (("rows", "none yet"),)

    def each(value: Callable[[Row], str]) -> str:
        return _by_column(columns, rows, value)

    return (
        *scales(rows),
        ("data", _listed(row.data for row in rows)),
        ("network", each(lambda row: f"{row.model}, width {row.width}, {row.precision} weights")),
        ("epochs", each(lambda row: str(row.epochs))),
        ("BatchNorm", each(lambda row: row.batchnorm)),
        ("training seed", each(lambda row: str(row.train_seed))),
        ("scored", _listed(f"n = {row.n:,} ({row.subset})" for row in rows)),
        ("evaluation seeds", f"{_seeds(rows)} a cell, each its own attack and scoring"),
        ("attacks", _attacks(columns, rows)),
        ("draws", _by_column(columns, _attacked(rows), lambda row: row.draws)),
        *origin(rows),
        ("attack and scoring time", duration(math.fsum(row.seconds for row in rows))),
    )


def measured(rows: Sequence[Row]) -> str:
    """One line for a picture: data, n, scoring draws and evaluation seeds."""
    scored = sorted({row.scored for row in rows})
    draws = [f"{n:,} scoring draw{'s' * (n > 1)}" for n in scored if scored != [1]]
    seeds = _seeds(rows)
    return (
        "; ".join(
            [
                f"Data: {_listed(row.data for row in rows)}",
                " or ".join(dict.fromkeys(f"n = {r.n:,} ({r.subset})" for r in rows)),
                *([" or ".join(draws)] if draws else []),
                f"{seeds} evaluation seed{'s' * (seeds != '1')}",
            ]
        )
        + "."
    )


def origin(made: Sequence[Row | About]) -> Facts:
    """Where and by which code rows or panels were made."""
    return (
        ("hardware", _listed(each.hardware for each in made)),
        ("software", _listed(_versions(each) for each in made)),
        ("commit", _listed(commit(each) for each in made)),
        ("trained at commit", _listed(each.trained_commit or "not recorded" for each in made)),
    )


def unit(rows: Iterable[Row]) -> str:
    """What epsilon = 1 means: "1/255", "amplitude", or a number; "" without an attack."""
    found = set()
    for row in rows:
        if row.epsilon > 0:
            scale = row.epsilon_absolute / row.epsilon
            if math.isclose(scale, 1 / 255, rel_tol=1e-6):
                found.add("1/255")
            else:
                found.add("amplitude" if math.isclose(scale, 1) else f"{scale:.6g}")
    return _listed(found)


def scales(made: Sequence[Row | About]) -> Facts:
    found = sorted({(each.scale, each.dataset) for each in made})
    texts = {
        name: AS_PRINTED.get((name, dataset), SCALES.get(name, "a schedule of one's own"))
        for name, dataset in found
    }
    return tuple((f"at {name} scale", text) for name, text in texts.items())


def _attacked(rows: Sequence[Row]) -> Sequence[Row]:
    """Without clean rows of networks that were attacked too: they hold no attack's draws."""
    known = {(row.recipe, row.defence) for row in rows if row.attack != "clean"}
    return [r for r in rows if r.attack != "clean" or (r.recipe, r.defence) not in known]


def _listed(values: Iterable[str]) -> str:
    return "; ".join(sorted(set(values)))


def _by_column(columns: Sequence[Column], rows: Sequence[Row], value: Callable[[Row], str]) -> str:
    return by_label(
        (column.label, text)
        for column in columns
        for text in sorted({value(row) for row in rows if column.takes(row)})
    )


def by_label(told: Iterable[tuple[str, str]]) -> str:
    """(label, text) pairs: "a" when all say so, else "a (Baseline); b (Ours)"."""
    labels: dict[str, list[str]] = {}
    for label, text in told:
        labels.setdefault(text, []).append(label)
    if len(labels) == 1:
        return next(iter(labels))
    return "; ".join(f"{text} ({', '.join(mine)})" for text, mine in labels.items())


def _seeds(rows: Sequence[Row]) -> str:
    seeds: dict[tuple[str, str], set[int]] = {}
    for row in rows:
        seeds.setdefault((row.fingerprint, row.protocol), set()).add(row.eval_seed)
    counts = sorted({len(each) for each in seeds.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _attacks(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Step counts, step size and start as they were run, one clause an attack; whose it is, where
    not every column has it."""

    def labels(of: Sequence[Row]) -> list[str]:
        return [column.label for column in columns if any(column.takes(row) for row in of)]

    clauses, everybody = [], labels(_attacked(rows))
    for attack in sorted({row.attack for row in rows if row.attack != "clean"}):
        mine = [row for row in rows if row.attack == attack]
        epsilons = sorted({row.epsilon for row in mine})
        steps = [
            " or ".join(str(n) for n in sorted({r.steps for r in mine if r.epsilon == epsilon}))
            for epsilon in epsilons
        ]
        name = shown(attack)
        if set(steps) == {"1"} and all(_same(row.step_size, row.epsilon_absolute) for row in mine):
            clause = f"{name}: {' or '.join(sorted({_one_step(row) for row in mine}))}"
        else:
            by_size = sorted(mine, key=lambda row: row.epsilon)
            sizes = ", ".join(dict.fromkeys(_step(row) for row in by_size))
            marks = ", ".join(f"{epsilon:g}" for epsilon in epsilons)
            clause = f"{name}: {', '.join(steps)} steps of {sizes} at ε = {marks}"
        starts = {row.random_start for row in mine}
        clause += " from a random start" if True in starts else ""
        whose = labels(mine)
        clauses.append(clause if whose == everybody else f"{clause} ({', '.join(whose)})")
    return "; ".join(clauses) if clauses else "none"


def _one_step(row: Row) -> str:
    """What a one-step attack tries; FGSM that stops tries several sizes of its step."""
    sizes = row.settings.get("sizes", "single")
    if sizes == "single":
        return "one step of ε"
    if sizes == "listed":
        return "one step of ε, then of sizes below it, until the first miss"
    return f"up to {int(sizes):,} sizes up to ε, until the first miss"


def _same(left: float, right: float) -> bool:
    return math.isclose(left, right, rel_tol=1e-6)


def _step(row: Row) -> str:
    steps_per_255 = row.step_size * 255
    if _same(row.epsilon_absolute * 255, row.epsilon):
        return f"{steps_per_255:.4g}/255"
    return f"{row.step_size:.4g}"


def _versions(made: Row | About) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(made.versions.items()))


def commit(made: Row | About) -> str:
    """Of the code that made it; + where it was not all committed."""
    return (made.commit[:10] or "unknown") + ("+" if made.dirty else "")


def duration(seconds: float) -> str:
    """In the unit that a person would use."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"

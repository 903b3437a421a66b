"""What has been trained and evaluated: the checkpoints and rows of a runs folder."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import config as cfg
from ..config import Config
from ..errors import UsageError
from ..results.row import Row, summarise
from ..system.table import console


@dataclass(frozen=True)
class Training:
    """A checkpoint: how far it is, what its epochs took (seconds), on what hardware."""

    name: str
    config: Config
    epochs: int
    seconds: tuple[float, ...]
    accuracy: float | None
    hardware: str
    size: int
    changed: float

    @property
    def left(self) -> int:
        return max(0, self.config.train.epochs - self.epochs)


def trainings(folder: Path) -> list[Training]:
    """Of every checkpoint that can be read; its weights stay on disk."""
    found = (_training(path) for path in sorted(folder.glob("*.pt")))
    return [each for each in found if each is not None]


def of_code_at_hand(made: Sequence[Training]) -> tuple[list[Training], list[str]]:
    """Return the trainings whose code can be imported, and a line for each of the others.

    A person's own code, from hydra.searchpath, is a part of what a network is.
    """
    found, lines = [], []
    for each in made:
        try:
            cfg.train_config_hash(each.config)
            found.append(each)
        except UsageError:
            lines.append(
                f"{each.name}: its code is not on the path: add "
                "ARGS=\"'hydra.searchpath=[file://FOLDER]'\""
            )
    return found, lines


def _training(path: Path) -> Training | None:
    import torch

    try:
        state: Mapping[str, Any] = torch.load(
            path, map_location="cpu", weights_only=True, mmap=True
        )
        history = state["progress"]["history"]
        about = path.stat()
        return Training(
            path.stem,
            cfg.restored(state["config"]),
            int(state["progress"]["epoch"]),
            tuple(float(line["seconds"]) for line in history),
            history[-1].get("accuracy") if history else None,
            str(state.get("hardware", "hardware not recorded")),
            about.st_size,
            about.st_mtime,
        )
    except Exception:  # a damaged file, or another version's, can fail anywhere, and with anything
        return None


def listed(
    made: Sequence[Training],
    rows: Iterable[Row],
    released: Mapping[str, str],
    now: float | None = None,
) -> str:
    """A line for each network and defence at test: accuracies, rows, its checkpoint.

    One network can be tested with several defences: the dense one plain, squeezed and pruned.
    `released`: the names of released networks by the digest of their weights, as rows have it.
    """
    now = time.time() if now is None else now
    tested: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        tested.setdefault((row.run_id, row.defence), []).append(row)
    known = {each.name: each for each in made}
    trained = {(each.name, each.config.defence.name) for each in made}
    lines = []
    for name, defence in sorted(trained | tested.keys()):
        training, mine = known.get(name), tested.get((name, defence), [])
        clean, pgd = accuracy(mine, "clean", 0), accuracy(mine, "pgd", 8)
        if training is None:
            release = next((released[row.weights] for row in mine if row.weights in released), "")
            kept = f"released as {release}" if release else "none"
            scale, epochs, told = mine[0].scale, "—", ["—", kept]
        else:
            scale, planned = training.config.scale.name, training.config.train.epochs
            epochs = f"{training.epochs}/{planned}"
            told = [age(now - training.changed), size(training.size)]
            if clean == "—" and (name, defence) in trained and training.accuracy is not None:
                clean = f"~{100 * training.accuracy:.1f}"
        lines.append([name, defence, scale, epochs, clean, pgd, str(len(mine)), *told])
    heads = ["run", "defence", "scale", "epochs", "clean", "PGD-8", "rows", "age", "checkpoint"]
    return console([heads, *lines], left=(0, 1, 2, 8))


def accuracy(rows: Iterable[Row], attack: str, epsilon: float) -> str:
    """In %, of the protocol with the most images and seeds; "—" where there is none."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if (row.attack, row.epsilon, row.knowledge) == (attack, epsilon, "fresh"):
            groups.setdefault((row.weights, row.protocol), []).append(row)
    if not groups:
        return "—"
    best = max(groups.values(), key=lambda group: (group[0].n, len(group)))
    return f"{100 * summarise(best).robust_mean:.1f}"


def age(seconds: float) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0, seconds):.0f} s"


def size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"

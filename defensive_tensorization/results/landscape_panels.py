"""Panels of a loss landscape, and the file from which they redraw without the network.

A file is a zip of .npy arrays (np.load opens it without pickle): `about`, a JSON list of one object
a panel, and the arrays, each kept once under the digest of its content, by which a panel names it.
"""

import json
import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .network import OfNetwork, of_one_data_set

Array = NDArray[np.float32]
ARRAYS = ("ticks", "image", "directions", "loss", "spread", "margin")


@dataclass(frozen=True)
class About(OfNetwork):
    """Where a panel comes from.

    `draws` is how many draws the surface is the mean of, each held for the whole grid; 0 where the
    network has none. The plane is that of the run `plane`, whose weights are `plane_weights`;
    `protocol` is a hash of how it is laid and evaluated. `image` counts in the test set's fixed
    permutation; `predictions` is how often each class is predicted there, by draw. The gradient's
    length is that before scaling. Other names as in a row.
    """

    weights: str
    trained_commit: str
    plane: str
    plane_weights: str
    direction: str
    gradient_length: float
    image: int
    label: str
    predictions: dict[str, int]
    draws: int
    seed: int
    commit: str
    dirty: bool
    versions: dict[str, str]
    hardware: str
    seconds: float
    command: str


@dataclass(frozen=True)
class Panel:
    """loss[j, i] belongs to image + ticks[i] directions[0] + ticks[j] directions[1].

    ticks [N]; image [C, H, W] in the data's bounds; directions [2, C, H, W], the gradient's and one
    orthogonal to it; loss [N, N], cross-entropy in nats, the mean over draws; spread [N, N], its
    standard deviation between draws (zeros of one draw); margin [N, N], the label's logit less the
    largest other one, the mean over draws.
    """

    about: About
    ticks: Array
    image: Array
    directions: Array
    loss: Array
    spread: Array
    margin: Array

    @property
    def centre(self) -> tuple[int, int]:
        """The index of the image in the grid."""
        return len(self.ticks) // 2, len(self.ticks) // 2

    @property
    def version(self) -> str:
        """ "draw": one held draw, "mean": several, "": a network that has none, for both."""
        return {0: "", 1: "draw"}.get(self.about.draws, "mean")


def save(path: Path, panels: Iterable[Panel]) -> Path:
    """Write beside, then rename; the same panels give the same bytes."""
    arrays: dict[str, Any] = {}
    described = []
    for panel in panels:
        names = {}
        for kind in ARRAYS:
            array = np.ascontiguousarray(getattr(panel, kind), dtype=np.float32)
            names[kind] = blake2b(
                repr(array.shape).encode() + array.data, digest_size=8
            ).hexdigest()
            arrays[names[kind]] = array
        described.append({**asdict(panel.about), "arrays": names})
    text = json.dumps(described, ensure_ascii=False, allow_nan=False, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, about=np.array(text), **arrays)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return path


def load(path: Path) -> list[Panel]:
    """The panels of a file, [] where there is none; UsageError where it is no such file."""
    if not path.exists():
        return []
    try:
        with np.load(path, allow_pickle=False) as file:
            described = json.loads(str(file["about"]))
            arrays = {name: file[name] for name in file.files if name != "about"}
        return [_panel(each, arrays) for each in described]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{path}: not the panels of a landscape ({error}); move the file away and run the "
            "command again"
        ) from None


def _panel(described: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Panel:
    names = described.pop("arrays")
    return Panel(About(**described), **{kind: arrays[names[kind]] for kind in ARRAYS})


def read(folder: Path) -> list[Panel]:
    """The panels of a folder's files, in the order of their names."""
    return [panel for path in sorted(folder.glob("*.npz")) for panel in load(path)]


def pace(measured: Iterable[Panel]) -> dict[bool, float]:
    """Seconds a draw and point of the grid, of networks that draw and of those that do not."""
    spent: dict[bool, list[tuple[float, int]]] = {}
    for panel in measured:
        work = max(1, panel.about.draws) * len(panel.ticks) ** 2
        spent.setdefault(panel.about.draws > 0, []).append((panel.about.seconds, work))
    return {kind: sum(s for s, _ in m) / sum(w for _, w in m) for kind, m in spent.items()}


def chosen(panels: Sequence[Panel], *, data: str | None = None) -> list[Panel]:
    """Those of one data set: `data` is a title or a digest, without which several are an error."""
    return of_one_data_set(panels, lambda panel: panel.about, data, "panels")

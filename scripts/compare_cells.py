"""One tool on one network: its examples, its report, its passes; finished batches stay on disk."""

import logging
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import torch
from others_attacks import Budget, Counted, Tool
from torch import Tensor, nn

from defensive_tensorization.auditing.model_digest import model_digest, tensor_digest
from defensive_tensorization.auditing.store import Piece, Store
from defensive_tensorization.errors import UsageError
from defensive_tensorization.randomness import seeded

VERSION = 1  # raise it when the same settings attack otherwise
BATCH = 50  # images that share a draw; the wrapper of Foolbox holds all draws of a step at once
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cell:
    """x: the examples [N, ...], None where the cell was not run; passes: of an image, the mean;
    reports: the tool's own robust accuracy."""

    tool: Tool
    version: str
    x: Tensor | None = None
    passes: float = 0.0
    reports: float = 0.0


def stored(folder: Path, model: nn.Module, seed: int) -> Store:
    """What is finished of a network."""
    return Store(folder, VERSION, model_digest(model), seed)


def cell(
    tool: Tool, model: nn.Module, x: Tensor, y: Tensor, budget: Budget, seed: int, store: Store,
    *, attack: bool = True,
) -> Cell:  # fmt: skip
    """Attack all images, batch by batch; finished batches come from the store.

    attack: False leaves a cell blank that is not finished.
    """
    try:
        version = tool.version
    except PackageNotFoundError:
        log.warning("%s is not installed (pip install %s): blank", tool.name, tool.package)
        return Cell(tool, "")
    pieces = []
    for place, (some, labels) in enumerate(zip(x.split(BATCH), y.split(BATCH), strict=True)):

        def make(at: Tensor = some, y: Tensor = labels, place: int = place) -> Piece:
            return _attacked(tool, model, at, y, budget, seed, place)

        data = (tensor_digest(some), tensor_digest(labels), place)
        key = (tool.name, version, vars(budget), *data)
        if not (attack or store.path(*key).exists()):
            return Cell(tool, version)
        pieces.append(store.remember(make, *key))
        log.info("%s: %d of %d images", tool.name, min((place + 1) * BATCH, len(x)), len(x))
    sizes = torch.tensor([len(piece["x"]) for piece in pieces])

    def mean(name: str) -> float:
        return float((torch.stack([piece[name] for piece in pieces]) * sizes).sum() / len(x))

    made = torch.cat([piece["x"] for piece in pieces])
    return Cell(tool, version, made, mean("passes"), mean("reports"))


def _attacked(
    tool: Tool, model: nn.Module, x: Tensor, y: Tensor, budget: Budget, seed: int, place: int
) -> Piece:
    counted = Counted(model).eval()
    with seeded(counted, seed, f"compare_tools {tool.name} {place}"):
        made, reports = tool.run(counted, x, y, budget)
    if float((made - x).abs().max()) > budget.epsilon + 1e-6:
        raise UsageError(f"{tool.name} left the ball of {budget.epsilon:.4g}: upgrade it")
    told = {"passes": counted.passes / len(x), "reports": reports}
    return {"x": made.detach(), **{k: torch.tensor(v, dtype=torch.double) for k, v in told.items()}}

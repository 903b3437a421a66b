"""Random resize and pad under the attacks of several tools: what each says, and what is true.

    make compare-tools ARGS="dataset.download=true"
    python scripts/compare_tools.py audit.images=50        # fewer images

Trains what is missing, attacks, scores all examples under the same fresh draws, and writes
compare_tools.csv and compare_tools.md. A cell is one tool on one network; a finished one is kept
below paths.runs. audit.images, steps, draws and scored are the settings.
"""

import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import torch
from compare_page import page, write
from others_attacks import TOOLS, Budget, Counted, Tool
from torch import Tensor, nn

import defensive_tensorization as dt
from defensive_tensorization import config as cfg
from defensive_tensorization.auditing.evaluation_result import Evaluation
from defensive_tensorization.auditing.measure import choice
from defensive_tensorization.auditing.store import Piece, Store, model_digest, tensor_digest
from defensive_tensorization.auditing.strangers import ResizeAndPad
from defensive_tensorization.data import decode
from defensive_tensorization.errors import UsageError, in_one_line
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.ensure import trained
from defensive_tensorization.experiment.plan import Plan, plan
from defensive_tensorization.randomness import seeded
from defensive_tensorization.results.scores import Interval
from defensive_tensorization.system import malloc, output, provenance
from defensive_tensorization.tables.table_spec import folder_of

VERSION = 1  # raise it when the same settings attack otherwise
DEFAULTS = ("dataset=cifar10", "scale=cpu", "audit.steps=50", "audit.draws=20", "audit.scored=100")
BATCH = 50  # images that share a draw; the wrapper of Foolbox holds all draws of a step at once
LEAST = 0.9  # the smallest side of a resized image; Xie et al. 2018: 299 of 331 pixels
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """A network behind the defence, and epsilon in the data's unit."""

    name: str
    epsilon: float
    overrides: tuple[str, ...]


CASES = (
    Case("undefended ResNet-18", 2, ("defence=none", "theta=1", "audit.images=50")),
    Case(
        *("PGD training, small network", 8),
        ("defence=adversarial_pgd", "theta=1", "model=convnet", "audit.images=200"),
    ),
)
"""The first is released; the second, of three convolutions, is trained in minutes."""


@dataclass(frozen=True)
class Cell:
    """x: the examples [N, ...], None where the tool is not installed; passes: of an image, the
    mean; reports: the tool's own robust accuracy."""

    tool: Tool
    version: str
    x: Tensor | None = None
    passes: float = 0.0
    reports: float = 0.0
    seconds: float = 0.0


class Stored:
    """Examples that are there already, as an attack that hands them out batch by batch."""

    def __init__(self, name: str, x: Tensor) -> None:
        self.name = name
        self.pieces = iter(x.split(BATCH))

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return next(self.pieces)


def cell(
    tool: Tool, model: nn.Module, x: Tensor, y: Tensor, budget: Budget, seed: int, store: Store
) -> Cell:
    """Attack all images, batch by batch; finished batches come from the store."""
    try:
        version = tool.version
    except PackageNotFoundError:
        log.warning("%s is not installed (pip install %s): blank", tool.name, tool.package)
        return Cell(tool, "")

    pieces = []
    for place, (some, labels) in enumerate(zip(x.split(BATCH), y.split(BATCH), strict=True)):

        def make(at: Tensor = some, y: Tensor = labels, place: int = place) -> Piece:
            return _attacked(tool, model, at, y, budget, seed, place)

        pieces.append(store.remember(make, tool.name, version, vars(budget), place))
        log.info("%s, batch %d: %.0f s", tool.name, place + 1, pieces[-1]["seconds"])
    sizes = torch.tensor([len(piece["x"]) for piece in pieces])

    def mean(name: str) -> float:
        return float((torch.stack([piece[name] for piece in pieces]) * sizes).sum() / len(x))

    seconds = sum(float(piece["seconds"]) for piece in pieces)
    made = torch.cat([piece["x"] for piece in pieces])
    return Cell(tool, version, made, mean("passes"), mean("reports"), seconds)


def _attacked(
    tool: Tool, model: nn.Module, x: Tensor, y: Tensor, budget: Budget, seed: int, place: int
) -> Piece:
    counted = Counted(model).eval()
    started = time.perf_counter()
    with seeded(counted, seed, f"compare_tools {tool.name} {place}"):
        made, reports = tool.run(counted, x, y, budget)
    if float((made - x).abs().max()) > budget.epsilon + 1e-6:
        raise UsageError(f"{tool.name} left the ball of {budget.epsilon:.4g}: upgrade it")
    told = {"passes": counted.passes / len(x), "reports": reports}
    told["seconds"] = time.perf_counter() - started
    return {"x": made.detach(), **{k: torch.tensor(v, dtype=torch.double) for k, v in told.items()}}


def rows(
    case: Case, cells: Sequence[Cell], model: nn.Module, x: Tensor, y: Tensor, budget: Budget,
    scored: int, seed: int,
) -> list[dict[str, str]]:  # fmt: skip
    """All examples under the same draws; each image's strongest by these, under others."""
    there = {c.tool.name: c.x for c in cells if c.x is not None}
    found = dt.evaluate(
        *(model, (x, y), [Stored(*each) for each in there.items()], scored),
        batch_size=BATCH, seed=seed,
    )  # fmt: skip
    best = x.clone()
    chosen = torch.as_tensor(choice([found[name].answers for name in there]))
    for number, made in enumerate(there.values()):
        best[chosen == number] = made[chosen == number]
    last = dt.evaluate(
        model, (x, y), [Stored("best", best)], scored, batch_size=BATCH, seed=seed + 1
    )
    of_all = {
        "network": case.name,
        "epsilon": f"{case.epsilon:g}",
        **_shares("clean", found.clean.interval),
        **_shares("true_at_most", last["best"].interval),
        "images": str(len(x)),
        "scored": str(scored),
    }
    return [{**of_all, **_row(c, found, budget)} for c in cells]


def _row(c: Cell, found: Evaluation, budget: Budget) -> dict[str, str]:
    told = {"tool": c.tool.name, "version": c.version, "passes": str(c.tool.passes(budget))}
    if c.x is None:
        return told
    return {
        **told,
        "used": f"{c.passes:.0f}",
        "reports": _percent(c.reports),
        **_shares("fresh_draws", found[c.tool.name].interval),
        "seconds": f"{c.seconds:.0f}",
    }


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _shares(name: str, of: Interval) -> dict[str, str]:
    values = (of.estimate, of.low, of.high)
    return {
        f"{name}{end}": _percent(v) for end, v in zip(("", "_low", "_high"), values, strict=True)
    }


def compared(case: Case, words: Sequence[str]) -> tuple[list[dict[str, str]], Plan]:
    """The rows of one network."""
    said = {word.partition("=")[0] for word in words}
    unsaid = [w for w in (*DEFAULTS, *case.overrides) if w.partition("=")[0] not in said]
    config = cfg.composed([*unsaid, *words])
    p = plan(config)
    model = ResizeAndPad(components.classifier(p, trained(p).network), LEAST).eval()
    split = p.task.test.part(config.audit.images, "audit.images")
    x, y = decode(split.inputs), split.labels
    budget = Budget(case.epsilon * config.dataset.unit, config.audit.steps, config.audit.draws)
    seed = config.eval.seed
    told = (VERSION, model_digest(model), tensor_digest(x), tensor_digest(y), BATCH, seed)
    store = Store(Path(config.paths.runs) / "compare_tools", *told)
    log.info("%s, epsilon %g", case.name, case.epsilon)
    cells = [cell(tool, model, x, y, budget, seed, store) for tool in TOOLS]
    return rows(case, cells, model, x, y, budget, config.audit.scored, seed), p


def _facts(plans: Sequence[Plan]) -> list[str]:
    c = plans[0].config
    commit, dirty = provenance.commit()
    return [
        *(_network(case, p) for case, p in zip(CASES, plans, strict=True)),
        f"defence: the image resized to {LEAST:g} to 1 of its side and padded with zeros, one draw "
        "a forward (Xie et al. 2018)",
        f"data: {plans[0].task.title}, test images by permutation seed 0; attacked in "
        f"{c.eval.autocast}, {BATCH} images a batch",
        f"scoring: {c.audit.scored} fresh draws an image, the same for all tools; the strongest "
        "example is chosen by these and scored by others",
        f"commit {commit}{'+' * dirty}, {provenance.hardware('cpu')}, torch {torch.__version__}",
    ]


def _network(case: Case, p: Plan) -> str:
    c = p.config
    return (
        f"{case.name}: {c.model.name}, width {c.model.width}, {c.train.epochs} epochs, {p.name}; "
        f"{c.audit.images} images"
    )


def main() -> None:
    output.log(logging.INFO)
    malloc.keep()
    with in_one_line("paths.runs"):
        made = [compared(case, sys.argv[1:]) for case in CASES]
        lines = [line for some, _ in made for line in some]
        plans = [p for _, p in made]
        for path in write(lines, _facts(plans), folder_of(plans[0].config)):
            log.info("wrote %s", path)
        print("\n".join(page(lines, _facts(plans))))


if __name__ == "__main__":
    main()

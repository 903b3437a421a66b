"""Random resize and pad under the attacks of several tools: what each says, and what is true.

    make compare-tools ARGS="dataset.download=true"
    python scripts/compare_tools.py audit.images=50        # fewer images
    python scripts/compare_tools.py render                 # from the finished cells alone

Trains what is missing, attacks, scores all examples under the same fresh draws, and writes
compare_tools.csv and compare_tools.md. A cell is one tool on one network; a finished one is kept
below paths.runs. audit.images, steps, draws and scored are the settings.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from compare_cells import BATCH, Cell, cell, stored
from compare_page import page, write
from others_attacks import TOOLS, Budget
from torch import Tensor, nn

import defensive_tensorization as dt
from defensive_tensorization import config as cfg
from defensive_tensorization.auditing.evaluation_result import Evaluation
from defensive_tensorization.auditing.measure import choice
from defensive_tensorization.auditing.strangers import ResizeAndPad
from defensive_tensorization.data import decode
from defensive_tensorization.errors import in_one_line
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.ensure import trained
from defensive_tensorization.experiment.plan import Plan, plan
from defensive_tensorization.results.scores import Interval
from defensive_tensorization.system import malloc, output, provenance
from defensive_tensorization.tables.table_spec import folder_of

DEFAULTS = ("dataset=cifar10", "scale=cpu", "audit.steps=20", "audit.draws=20", "audit.scored=100")
LEAST = 0.9  # the smallest side of a resized image; Xie et al. 2018: 299 of 331 pixels
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """A network behind the defence, and epsilon in the data's unit."""

    name: str
    epsilon: float
    network: tuple[str, ...]
    size: tuple[str, ...] = ()


CASES = (
    Case(
        *("PGD training, small network", 8),
        ("defence=adversarial_pgd", "theta=1", "model=convnet", "train.epochs=10"),
        ("audit.images=100",),
    ),
    Case("undefended ResNet-18", 2, ("defence=none", "theta=1"), ("audit.images=40",)),
)
"""The first, of three convolutions, is trained in minutes; the second is released."""


class Stored:
    """Examples that are there already, as an attack that hands them out batch by batch."""

    def __init__(self, name: str, x: Tensor) -> None:
        self.name = name
        self.pieces = iter(x.split(BATCH))

    def __call__(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return next(self.pieces)


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
    }


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _shares(name: str, of: Interval) -> dict[str, str]:
    values = (of.estimate, of.low, of.high)
    return {
        f"{name}{end}": _percent(v) for end, v in zip(("", "_low", "_high"), values, strict=True)
    }


def planned(case: Case, words: Sequence[str]) -> Plan:
    said = {word.partition("=")[0] for word in words}
    usual = (*DEFAULTS, *case.network, *case.size)
    return plan(cfg.composed([*(w for w in usual if w.partition("=")[0] not in said), *words]))


def compared(case: Case, p: Plan, *, attack: bool = True) -> list[dict[str, str]]:
    """The rows of one network; attack=False: from the finished cells alone."""
    config = p.config
    model = ResizeAndPad(components.classifier(p, trained(p).network), LEAST).eval()
    split = p.task.test.part(config.audit.images, "audit.images")
    x, y = decode(split.inputs), split.labels
    budget = _budget(case, p)
    seed = config.eval.seed
    store = stored(Path(config.paths.runs) / "compare_tools", model, seed)
    log.info("%s, epsilon %g", case.name, case.epsilon)
    cells = [cell(t, model, x, y, budget, seed, store, attack=attack) for t in TOOLS]
    if all(c.x is None for c in cells):
        return blank(case, p)
    return rows(case, cells, model, x, y, budget, config.audit.scored, seed)


def _budget(case: Case, p: Plan) -> Budget:
    audit = p.config.audit
    return Budget(case.epsilon * p.config.dataset.unit, audit.steps, audit.draws)


def blank(case: Case, p: Plan) -> list[dict[str, str]]:
    """The rows of a network without a finished cell."""
    about = {"network": case.name, "epsilon": f"{case.epsilon:g}"}
    return [{**about, "tool": t.name, "passes": str(t.passes(_budget(case, p)))} for t in TOOLS]


def _facts(plans: Sequence[Plan]) -> list[str]:
    c = plans[0].config
    return [
        *(_network(case, p) for case, p in zip(CASES, plans, strict=True)),
        f"defence: the image resized to {LEAST:g} to 1 of its side and padded with zeros, one draw "
        "a forward (Xie et al. 2018)",
        f"data: {plans[0].task.title}, test images by permutation seed 0; attacked in "
        f"{c.eval.autocast}, {BATCH} images a batch",
        f"scoring: {c.audit.scored} fresh draws an image, the same for all tools; the strongest "
        "example is chosen by these and scored by others",
        f"commit {provenance.commit_name()}, {provenance.hardware('cpu')}, "
        f"torch {torch.__version__}",
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
        words = [word for word in sys.argv[1:] if word != "render"]
        attack = len(words) == len(sys.argv[1:])
        plans = {case: planned(case, words) for case in CASES}
        for p in plans.values():
            trained(p)
        facts = _facts(list(plans.values()))
        lines = {case: blank(case, p) for case, p in plans.items()}
        for case, p in plans.items():
            lines[case] = compared(case, p, attack=attack)
            made = [line for some in lines.values() for line in some]
            write(made, facts, folder_of(p.config))
        print("\n".join(page(made, facts)))


if __name__ == "__main__":
    main()

"""The comparison of tools, at toy size: passes, scoring, and what is missing."""

import csv
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from defensive_tensorization.auditing.store import Store
from defensive_tensorization.errors import UsageError
from defensive_tensorization.randomness import seeded

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))

import compare_cells
import compare_page
import compare_tools
import others_attacks
from compare_cells import Cell, cell
from compare_tools import Case, rows
from others_attacks import TOOLS, Budget, Counted, Tool

BUDGET = Budget(epsilon=0.1, steps=6, draws=3)
PASSES = {
    "AutoAttack rand": 18,  # two attacks, each a start and 2 steps of 3 draws
    "Foolbox PGD, EOT wrapper": 18,  # 6 x 3
    "torchattacks EOTPGD": 18,
    "dt.attacks.eot_pgd": 18,
    "dt.attacks.apgd": 18,  # a start and 5 steps
    "AutoAttack rand, as shipped": 4040,  # two attacks, each a start and 100 steps of 20 draws
}
BY_NAME = {tool.name: tool for tool in TOOLS}


class Noisy(nn.Module):
    """Linear, of 4 classes, behind noise."""

    def __init__(self, noise: float = 0.05) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.linear = nn.Linear(3 * 4 * 4, 4)
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear((x + self.noise * torch.randn_like(x)).flatten(1))
        return logits


@pytest.fixture
def data() -> tuple[nn.Module, Tensor, Tensor]:
    """A model, images and the labels that it gives them without noise."""
    model = Noisy().eval().requires_grad_(False)
    x = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return model, x, model.linear(x.flatten(1)).argmax(1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    yield Store(tmp_path / "cells", "test")


@pytest.mark.parametrize("name", PASSES)
def test_a_tool_takes_the_passes_of_its_budget(
    name: str, data: tuple[nn.Module, Tensor, Tensor]
) -> None:
    """Counted at the network; AutoAttack drops what it counts as broken, and takes fewer then."""
    tool = BY_NAME[name]
    if tool.package:
        pytest.importorskip(tool.package)
    model, x, y = data
    budget = Budget(1e-6, 6, 3) if tool.package == "pyautoattack" else BUDGET  # breaks no image
    counted = Counted(model).eval()
    assert tool.passes(budget) == PASSES[name]
    with seeded(counted, 0, name):
        made, reports = tool.run(counted, x, y, budget)
    if name.startswith("AutoAttack"):  # those that a draw misses at the start are never attacked
        assert counted.passes <= PASSES[name] * len(x)
        counted.model.noise = 0.0
        counted.passes = 0
        tool.run(counted, x, y, budget)
    assert counted.passes == PASSES[name] * len(x)
    assert float((made - x).abs().max()) <= budget.epsilon + 1e-6
    assert 0 <= reports <= 1


def test_what_tools_report_of_a_network_without_randomness(
    data: tuple[nn.Module, Tensor, Tensor],
) -> None:
    """Nothing is lucky then: a report is what the examples leave."""
    model, x, y = data
    model.noise = 0.0
    for tool in TOOLS[:1] + TOOLS[1:2] + TOOLS[3:5]:
        if tool.package:
            pytest.importorskip(tool.package)
        made, reports = tool.run(model, x, y, BUDGET)
        right = np.argmax(made.flatten(1).numpy() @ model.linear.weight.numpy().T
                          + model.linear.bias.numpy(), 1) == y.numpy()  # fmt: skip
        assert reports == pytest.approx(right.mean()), tool.name


def fixed(name: str, moved: float, package: str | None = None) -> Tool:
    def run(model: nn.Module, x: Tensor, y: Tensor, b: Budget) -> others_attacks.Made:
        return (x + moved).clamp(0, 1), 0.5

    return Tool(name, package, run)


def test_equal_examples_get_equal_scores(
    data: tuple[nn.Module, Tensor, Tensor], store: Store
) -> None:
    """All tools meet the same draws; a hand computation of their mean agrees."""
    model, x, y = data
    tools = [fixed("one", 0.02), fixed("other", 0.02), fixed("further", -0.09)]
    cells = [cell(tool, model, x, y, BUDGET, 0, store) for tool in tools]
    made = rows(Case("toy", 8, ()), cells, model, x, y, BUDGET, 40, 0)
    shares = [float(line["fresh_draws"]) for line in made]
    assert shares[0] == shares[1]
    right = []
    with seeded(model, 0, "evaluate scoring 0"):
        for _ in range(40):
            noise = model.noise * torch.randn_like(x)
            right.append(model.linear(((x + 0.02).clamp(0, 1) + noise).flatten(1)).argmax(1) == y)
    assert shares[0] == pytest.approx(100 * float(torch.stack(right).float().mean()), abs=0.01)
    assert {line["reports"] for line in made} == {"50.00"}
    best = {line["true_at_most"] for line in made}
    assert len(best) == 1
    assert float(best.pop()) <= min(shares) + 5  # under other draws


def test_a_network_without_a_finished_cell_is_blank(
    data: tuple[nn.Module, Tensor, Tensor], store: Store, tmp_path: Path
) -> None:
    """Of render, and while another network is still under attack."""
    assert cell(fixed("tool", 0.0), *data, BUDGET, 0, store, attack=False).x is None
    audit = SimpleNamespace(steps=6, draws=3)
    config = SimpleNamespace(audit=audit, dataset=SimpleNamespace(unit=1 / 255))
    made = compare_tools.blank(Case("toy", 8, ()), SimpleNamespace(config=config))
    compare_page.write(made, [], tmp_path)
    text = (tmp_path / "compare_tools.md").read_text()
    assert f"0 of {len(TOOLS)} cells were run; not run: AutoAttack rand on toy, Foolbox" in text
    assert "| toy | 8 |  | AutoAttack rand | 18 |  |  |  |  |" in text


def test_a_finished_cell_is_not_run_again(
    data: tuple[nn.Module, Tensor, Tensor], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 4 and 2; the mean of reports is over images."""
    model, x, y = data
    monkeypatch.setattr(compare_cells, "BATCH", 4)
    calls: list[int] = []

    def run(model: nn.Module, x: Tensor, y: Tensor, b: Budget) -> others_attacks.Made:
        calls.append(len(x))
        return x, 1.0 if len(x) == 4 else 0.25

    first = cell(Tool("slow", None, run), model, x, y, BUDGET, 0, store)
    again = cell(Tool("slow", None, run), model, x, y, BUDGET, 0, store)
    assert calls == [4, 2]
    assert first.reports == again.reports == pytest.approx((4 * 1.0 + 2 * 0.25) / 6)
    assert first.x is not None and again.x is not None and torch.equal(first.x, again.x)


def test_examples_outside_the_ball_are_refused(
    data: tuple[nn.Module, Tensor, Tensor], store: Store
) -> None:
    with pytest.raises(UsageError, match="far left the ball of 0.1"):
        cell(fixed("far", 0.3), *data, BUDGET, 0, store)


def test_a_tool_that_is_not_installed_is_blank_and_counted(
    data: tuple[nn.Module, Tensor, Tensor], store: Store, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    absent = fixed("absent", 0.0, package="no-such-package-anywhere")
    with pytest.raises(PackageNotFoundError):
        _ = absent.version
    cells = [cell(tool, *data, BUDGET, 0, store) for tool in (absent, fixed("there", 0.02))]
    assert cells[0] == Cell(absent, "")
    assert "absent is not installed (pip install no-such-package-anywhere)" in caplog.text
    made = rows(Case("toy", 8, ()), cells, *data, BUDGET, 10, 0)
    compare_page.write(made, ["a fact"], tmp_path)
    lines = list(csv.DictReader((tmp_path / "compare_tools.csv").open()))
    assert [line["fresh_draws"] == "" for line in lines] == [True, False]
    assert [line["used"] for line in lines] == ["", "0"]
    text = (tmp_path / "compare_tools.md").read_text()
    assert "1 of 2 cells were run; not run: absent on toy." in text
    assert "| absent | 18 |  |  |  |" in text

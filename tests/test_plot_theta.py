"""make plot-theta: the rows of one recipe at several thetas, and nobody else's."""

import csv
from pathlib import Path

import pytest
from helpers.made_rows import of

from defensive_tensorization.config import composed
from defensive_tensorization.errors import UsageError
from defensive_tensorization.results import store
from defensive_tensorization.results.row import Row
from defensive_tensorization.tables.theta import plotted

WORDS = ["attack=[fgsm,pgd]", "eval.epsilon=[2,8]", "eval.images=20", "logger=none"]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Of the sweep, of a dense network, and of another recipe's network."""
    made = []
    for theta, accuracy in ((1.0, 0.2), (0.9, 0.4), (0.8, 0.6)):
        config = composed([*WORDS, f"theta={theta}"])
        made += of(config, accuracy, n=20, dataset="digits", data="digits")
    made += of(composed([*WORDS, "defence=none", "theta=1"]), 0.1, n=20, defence="none")
    made += of(composed([*WORDS, "train.epochs=3", "theta=0.9"]), 0.99, n=20)
    return made


@pytest.fixture
def asked(rows: list[Row], tmp_path: Path) -> list[str]:
    """Words whose folders hold the rows."""
    for row in rows:
        store.append(tmp_path / "rows" / f"{row.run_id}.jsonl", row)
    return [*WORDS, f"paths.runs={tmp_path}", f"paths.results={tmp_path / 'results'}"]


def test_each_theta_has_its_rows(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    figure, table = plotted([*asked, "theta=1,0.9,0.8"])
    assert figure.read_bytes()[:4] == b"\x89PNG" and figure.parent.name == "theta"
    with table.open() as file:
        points = list(csv.DictReader(file))
    found = {p["theta"]: float(p["accuracy"]) for p in points if p["attack"] == "pgd"}
    assert found == {"1": 0.2, "0.9": 0.4, "0.8": 0.6, "dense": 0.1}
    assert {p["epsilon"] for p in points if p["attack"] == "pgd"} == {"2.0", "8.0"}
    assert {p["seeds"] for p in points} == {str(composed(WORDS).eval.runs)}
    lines = capsys.readouterr().out.splitlines()
    (ours,) = [line for line in lines if line.strip().startswith("0.9 ")]
    assert ours.split()[1::3] == ["90.0", *["40.0"] * 4]


def test_without_theta_all_that_has_rows_is_shown(asked: list[str]) -> None:
    _, table = plotted(asked)
    with table.open() as file:
        assert {p["theta"] for p in csv.DictReader(file)} == {"1", "0.9", "0.8", "dense"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["train.epochs=7"],
            "has no rows of this recipe: run it, .* -m .*train.epochs=7",
        ),
        (["experiment=table1"], "holds several recipes"),
        (["defence=none"], "defence=none has no theta"),
        (["theta=high"], "theta=high: write theta=1,0.95,0.9"),
    ],
)
def test_what_has_no_sweep_is_refused(asked: list[str], words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        plotted([*asked, *words])


def test_what_has_no_rows_is_named_with_the_command(
    asked: list[str], rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    """All of theta = 0.7; of 0.9 FGSM at ε = 8, and PGD."""
    runs = next(Path(word.partition("=")[2]) for word in asked if word.startswith("paths.runs="))
    recipe = next(row.recipe for row in rows if row.theta == 0.9)
    (runs / "rows").rename(runs / "before")
    for row in rows:
        gone = row.attack == "pgd" or (row.attack, row.epsilon) == ("fgsm", 8)
        if not (row.recipe == recipe and gone):
            store.append(runs / "rows" / f"{row.run_id}.jsonl", row)
    plotted([*asked, "theta=1,0.9,0.7"])
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "no rows" in each]
    command = f"python -m defensive_tensorization -m {' '.join(asked)} theta=1,0.9,0.7"
    assert line == (
        "no rows of fgsm (ε = 8) at theta=0.9; pgd at theta=0.9, 0.7; clean at theta=0.7; "
        f"fgsm at theta=0.7: run {command}"
    )
    plotted([*asked, "theta=1,0.8"])
    assert "no rows" not in capsys.readouterr().out
    plotted(asked)  # of the thetas that there are
    assert "theta=0.7" not in capsys.readouterr().out

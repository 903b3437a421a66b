"""make plot-theta: the rows of one recipe at several thetas, and nobody else's."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.made_rows import of

from defensive_tensorization.config import composed
from defensive_tensorization.errors import UsageError
from defensive_tensorization.results import store
from defensive_tensorization.results.row import Row
from defensive_tensorization.tables.theta import plotted

OF = {"n": 20, "subset": "20 test images", "dataset": "digits", "data": "digits"}
WORDS = ["attack=[fgsm,pgd]", "eval.epsilon=[2,8]", "eval.images=20", "logger=none"]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Of the sweep, of a dense network, and of another recipe's network."""
    made = []
    for theta, accuracy in ((1.0, 0.2), (0.9, 0.4), (0.8, 0.6)):
        config = composed([*WORDS, f"theta={theta}"])
        made += of(config, accuracy, **OF)
    made += of(composed([*WORDS, "defence=none", "theta=1"]), 0.1, defence="none", **OF)
    made += of(composed([*WORDS, "train.epochs=3", "theta=0.9"]), 0.99, **OF)
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


def test_of_two_trainings_that_of_the_runs_folder_is_shown(
    asked: list[str], rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The committed rows are of older weights, and have an attack that the new ones lack."""
    recipe = next(row.recipe for row in rows if row.theta == 0.9)
    here = tmp_path / "rows"
    for file in here.glob("*.jsonl"):
        if store.read([file])[0].recipe == recipe:
            file.unlink()
    for row in (row for row in rows if row.recipe == recipe):
        new = replace(row, weights="b" * 16, robust_accuracy=0.5)
        old = replace(row, weights="a" * 16, robust_accuracy=0.3)
        if row.attack != "pgd":
            store.append(here / f"{row.run_id}.jsonl", new)
        store.append(tmp_path / "results" / "smoke" / "rows" / f"{row.run_id}.jsonl", old)
    words = [*asked, "scale=smoke"] if composed(asked).scale.name != "smoke" else asked
    _, table = plotted(words)
    with table.open() as file:
        points = [p for p in csv.DictReader(file) if p["theta"] == "0.9"]
    assert {(p["attack"], p["accuracy"]) for p in points} == {("clean", "0.5"), ("fgsm", "0.5")}
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "no rows" in each]
    assert line.startswith("no rows of pgd at theta=0.9: run") and line.endswith("theta=1,0.9,0.8")


def test_rows_of_two_trainings_in_one_folder_are_refused(asked: list[str], rows: list[Row]) -> None:
    runs = next(Path(word.partition("=")[2]) for word in asked if word.startswith("paths.runs="))
    row = next(row for row in rows if row.theta == 0.9)
    other = replace(row, weights="b" * 16, eval_seed=9)
    store.append(runs / "rows" / f"{row.run_id}.jsonl", other)
    with pytest.raises(UsageError, match="theta=0.9 has rows of two trainings: move the files"):
        plotted(asked)


def test_the_figure_says_of_what_it_is(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    plotted(asked)
    about = capsys.readouterr().out.splitlines()[0]
    assert about.endswith(
        "training seed 0. Data: digits; n = 20 (20 test images); 2 evaluation seeds."
    )


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

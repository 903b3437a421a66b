"""Rendering picks its own rows, says so when they disagree, and repeats what is committed."""

import csv
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.files import contents, write
from helpers.made_rows import SMALL, made_up

from defensive_tensorization import config as cfg
from defensive_tensorization.config import CONFIGS
from defensive_tensorization.errors import UsageError
from defensive_tensorization.tables import render as rendering
from defensive_tensorization.tables.catalogue import filled_by
from defensive_tensorization.tables.render import render

COMMITTED = CONFIGS.parent / "results"
METHODS = ("baseline", "ours_0.9")
TITLES = {"baseline": "Baseline", "ours_0.9": "Ours θ=0.9"}


def rendered(where: Path, *overrides: str, data: str | None = None) -> Path:
    paths = [f"paths.runs={where / 'runs'}", f"paths.results={where / 'results'}"]
    render("quickstart", [*SMALL, *paths, *overrides], data=data)
    return where / "results" / "smoke"


def cells(folder: Path) -> dict[tuple[str, str], str]:
    """(attack, method) -> our mean, for the cells that have one."""
    with (folder / "quickstart.csv").open(newline="") as file:
        found = {(r["attack"], r["method"]): r["ours_mean"] for r in csv.DictReader(file)}
    return {key: mean for key, mean in found.items() if mean}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rows of two methods, rendered."""
    where = tmp_path_factory.mktemp("own")
    write(where, made_up("baseline", 0.1), made_up("ours_0.9_same_epochs", 0.5))
    rendered(where)
    return where


def test_each_method_fills_its_column(own: Path) -> None:
    folder = own / "results" / "smoke"
    assert cells(folder) == {
        ("clean", "Dense"): "90.0",
        ("clean", "θ=0.9"): "90.0",
        ("fgsm", "Dense"): "10.0",
        ("fgsm", "θ=0.9"): "50.0",
    }
    assert "missing: 0 of 4 cells" in (folder / "quickstart.md").read_text()
    assert {path.name for path in (folder / "rows").glob("*.jsonl")} == {
        path.name for path in (own / "runs" / "rows").glob("*.jsonl")
    }


def test_what_an_experiment_fills_is_rendered_anew_where_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu").mkdir()
    for name in ("honest_table3", "table3"):
        (tmp_path / "cpu" / f"{name}.md").write_text("rendered before")
    rendered: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        rendering, "render", lambda name, words, data: rendered.append((name, words))
    )
    words = ["scale=cpu", f"paths.results={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["render.py", "honest_surface", *words, "attack=[apgd_ce]"])
    rendering.main()
    own, *others = rendered
    assert own == ("honest_surface", [*words, "attack=[apgd_ce]"])
    assert others == [("honest_table3", words), ("table3", words)]


def test_what_an_experiment_fills_is_what_the_configurations_say() -> None:
    assert filled_by("honest_table3") == ["table3"]
    assert filled_by("honest_surface4") == ["honest_table4", "table4"]
    assert filled_by("honest_autoattack") == ["honest_table1", "honest_table2", "table1", "table2"]
    table = cfg.composed(["experiment=honest_table2"]).experiment
    assert (table.surface, table.outside) == ("honest_surface", "honest_autoattack")
    assert cfg.composed(["experiment=table3"]).experiment.averaged == "honest_table3"
    assert filled_by("quickstart") == []


def test_other_recipes_and_protocols_are_not_picked_up(own: Path, tmp_path: Path) -> None:
    known = [*made_up("baseline", 0.1), *made_up("ours_0.9_same_epochs", 0.5)]
    write(tmp_path, known)
    recipes = {each.recipe for each in known}
    for override in ("model.width=32", "seed=1", "tucker.min_dim=1", "theta=0.7"):
        others = made_up("ours_0.9_same_epochs", 0.77, override)
        assert not recipes & {each.recipe for each in others}
        write(tmp_path, others)
    protocols = {each.protocol for each in known}
    for override in ("eval.images=7", "eval.batch_size=9", "eval.epsilon=[4]"):
        others = [
            r
            for r in made_up("ours_0.9_same_epochs", 0.77, override)
            if r.protocol not in protocols
        ]
        assert others and recipes >= {each.recipe for each in others}
        write(tmp_path, others)
    batch = made_up("ours_0.9_same_epochs", 0.77, "model.batchnorm=batch")
    assert recipes >= {r.recipe for r in batch} and not protocols & {r.protocol for r in batch}
    write(tmp_path, batch)
    assert contents(rendered(tmp_path)) == contents(own / "results" / "smoke")


def test_a_figure_of_rows_that_are_gone_goes_too(tmp_path: Path) -> None:
    write(tmp_path, made_up("baseline", 0.1))
    figure = rendered(tmp_path) / "quickstart.png"
    assert figure.exists()
    assert rendered(tmp_path, "seed=1") == figure.parent
    assert not figure.exists()
    assert rendered(tmp_path, "train.optimizer.weight_decay=null") == figure.parent


def test_two_trainings_are_not_averaged(tmp_path: Path) -> None:
    write(tmp_path, made_up("baseline", 0.1, weights="old"))
    write(tmp_path, [replace(r, eval_seed=5, weights="new") for r in made_up("baseline", 0.2)])
    with pytest.raises(UsageError, match="Dense, clean at epsilon 0 has rows of two trainings"):
        rendered(tmp_path)


def test_rows_of_two_data_need_a_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = {"data": "digits, twice as large", "data_digest": "e" * 16}
    write(tmp_path, made_up("baseline", 0.1), made_up("baseline", 0.3, **other))
    with pytest.raises(UsageError) as caught:
        rendered(tmp_path)
    assert str(caught.value) == (
        f"rows come from several data: 'CIFAR-10, JPEG q75 (folder)' ({'d' * 16}), "
        f"'digits, twice as large' ({'e' * 16}); choose one with --data TITLE"
    )
    folder = rendered(tmp_path, data=other["data"])
    assert cells(folder)["fgsm", "Dense"] == "30.0"
    assert "- data: digits, twice as large\n" in (folder / "quickstart.md").read_text()
    assert cells(rendered(tmp_path, data="d" * 16))["fgsm", "Dense"] == "10.0"


def test_own_rows_stand_before_committed_ones_of_other_data(tmp_path: Path) -> None:
    other = {"data": "digits, twice as large", "data_digest": "e" * 16}
    write(tmp_path, made_up("baseline", 0.3, **other))
    rendered(tmp_path)
    shutil.rmtree(tmp_path / "runs")  # another machine's, from here on
    write(tmp_path, made_up("baseline", 0.1))
    assert cells(rendered(tmp_path))["fgsm", "Dense"] == "10.0"
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(UsageError, match="choose one with --data TITLE"):
        rendered(tmp_path)


def test_an_override_that_makes_two_columns_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'Dense' and 'θ=0.9' are the same run: "):
        rendered(tmp_path, "defence=none", "theta=1", "train.epochs=2")
    assert not list(tmp_path.iterdir())


def test_the_script_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"data": "digits, twice as large", "data_digest": "e" * 16}
    write(tmp_path, made_up("baseline", 0.1), made_up("baseline", 0.3, **other))
    monkeypatch.chdir(tmp_path)
    words = ["render.py", "quickstart", *SMALL, "paths.results=results"]
    for arguments, text in (
        (words, "choose one with --data TITLE"),
        ([*words, "--data", "MNIST"], "--data 'MNIST' has no rows here; there are rows of"),
        ([*words, "--data"], "--data needs the title or the digest of the data"),
        (["render.py"], "name the experiment to render: python scripts/render.py table1 scale=cpu"),
        (["render.py", "nosuch"], "experiment/nosuch does not exist: choose one of"),
        (["render.py", "table1", "scale=nosuch"], "scale/nosuch does not exist: choose one of"),
        (["render.py", "table1", "foo=1"], "unknown key foo=1"),
    ):
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as caught:
            rendering.main()
        assert caught.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1
        assert text in said
    assert not list(tmp_path.rglob("*.md"))


def test_no_scale_writes_over_the_published_numbers(tmp_path: Path) -> None:
    paths = [f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path / 'results'}"]
    made = render("table5", ["scale=paper", "logger=none", *paths])
    written = {COMMITTED / path.relative_to(tmp_path / "results") for path in made}
    assert COMMITTED / "paper" not in {path.parent for path in written}

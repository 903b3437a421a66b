"""Rendering picks its own rows, says so when they disagree, and repeats what is committed."""

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fake_rows import row
from helpers.made_rows import SMALL, made_up

from defensive_tensorization import config as cfg
from defensive_tensorization.auditing.panel import MEMBERS
from defensive_tensorization.config import CONFIGS, composed
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment.evaluation_config import eval_config_hash
from defensive_tensorization.experiment.plan import attacks
from defensive_tensorization.report import audit_panel
from defensive_tensorization.results import store
from defensive_tensorization.results.row import Row
from defensive_tensorization.tables import render as rendering
from defensive_tensorization.tables.render import render
from defensive_tensorization.tables.table_spec import FOLDER

COMMITTED = CONFIGS.parent / "results"
METHODS = ("baseline", "ours_0.9")
TITLES = {"baseline": "Baseline", "ours_0.9": "Ours θ=0.9"}


def averaged(method: str, experiment: str = "honest_table1") -> list[Row]:
    """What the honest table's method would leave: two draws that get the first of two images."""
    held = {"n": 2, "scored": 2, "correct": "0200", "votes": "30", "by_draw": "1 1"}
    config = composed([f"experiment={experiment}", "scale=smoke", f"method={method}"])
    return [
        row(
            run_id=method,
            fingerprint=method,
            recipe=cfg.train_config_hash(config),
            protocol=eval_config_hash(config, attack),
            scale="smoke",
            attack=attack.name if attack else "clean",
            epsilon=attack.epsilon if attack else 0.0,
            steps=attack.steps if attack else 0,
            options=" ".join(f"{k}={v}" for k, v in attack.options) if attack else "",
            sketch=config.eval.sketch,
            **held,
        )
        for attack in (None, *attacks(config))
    ]


def test_the_honest_table_shows_each_method_and_its_control(tmp_path: Path) -> None:
    write(tmp_path, averaged("ours_0.9"), averaged("ours_0.9_unsketched"))
    paths = [f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path / 'results'}"]
    render("honest_table1", ["scale=smoke", "logger=none", *paths])
    page = (tmp_path / "results" / "smoke" / "honest_table1.md").read_text()
    assert "| 2 | Ours θ=0.9 | 69.5 | 50.0 | refused |" in page
    assert "| 2 | θ=0.9's network at θ=1 | — | 50.0 | refused |" in page
    assert "\n- Ours θ=0.9, ε = 2: 50.0 [" in page
    assert "| 2 | Ours θ=0.8 | 71.8 | — | — |" in page


def test_autoattack_enters_the_honest_tables_from_an_experiment_of_its_own(tmp_path: Path) -> None:
    outside = averaged("ours_0.9", "honest_autoattack")
    assert {each.attack for each in outside} == {"clean", "autoattack"}
    write(tmp_path, averaged("ours_0.9"), outside)
    paths = [f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path / 'results'}"]
    render("honest_table1", ["scale=smoke", "logger=none", *paths])
    page = (tmp_path / "results" / "smoke" / "honest_table1.md").read_text()
    _, below = page.split("**From outside**")
    assert "\n- Ours θ=0.9, ε = 2: 50.0 [" in below and "AUTOATTACK" in below
    render("honest_table1", ["scale=smoke", "logger=none", *paths, "eval.images=3"])
    page = (tmp_path / "results" / "smoke" / "honest_table1.md").read_text()
    assert "From outside" not in page  # of so many images there are no rows


def test_autoattack_s_table_has_more_columns_than_a_figure(tmp_path: Path) -> None:
    write(tmp_path, averaged("ours_0.9", "honest_autoattack"))
    paths = [f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path / 'results'}"]
    render("honest_autoattack", ["scale=smoke", "logger=none", *paths])
    folder = tmp_path / "results" / "smoke"
    assert "50.0" in (folder / "honest_autoattack.md").read_text()
    assert not (folder / "honest_autoattack.png").exists()


def test_the_surface_is_a_page_and_a_figure(tmp_path: Path) -> None:
    config = composed(["experiment=honest_surface", "scale=smoke", "method=ours_0.8"])
    attack = next(a for a in attacks(config) if (a.epsilon, a.draws, a.steps) == (2, 5, 50))
    held = {"n": 2, "scored": 2, "correct": "0200", "votes": "30", "by_draw": "1 1"}
    cell = row(
        run_id="one",
        recipe=cfg.train_config_hash(config),
        protocol=eval_config_hash(config, attack),
        scale="smoke",
        attack="eot_pgd",
        epsilon=2.0,
        steps=50,
        options="average=gradient draws=5 restarts=1 keep=best",
        **held,
    )
    write(tmp_path, [cell])
    paths = [f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path / 'results'}"]
    made = render("honest_surface", ["scale=smoke", "logger=none", *paths])
    page, figure, _ = made
    assert "| 50 | — | 50.0 [" in page.read_text()
    assert "Not settled: 1 of 25 cells of its surface are run." in page.read_text()
    assert figure.suffix == ".png" and figure.is_file()


def write(where: Path, *groups: list[Row]) -> None:
    for each in (r for group in groups for r in group):
        store.append(where / "runs" / "rows" / f"{each.run_id}.jsonl", each)


def rendered(where: Path, *overrides: str, data: str | None = None) -> Path:
    paths = [f"paths.runs={where / 'runs'}", f"paths.results={where / 'results'}"]
    render("quickstart", [*SMALL, *paths, *overrides], data=data)
    return where / "results" / "smoke"


def cells(folder: Path) -> dict[tuple[str, str], str]:
    """(attack, method) -> our mean, for the cells that have one."""
    with (folder / "quickstart.csv").open(newline="") as file:
        found = {(r["attack"], r["method"]): r["ours_mean"] for r in csv.DictReader(file)}
    return {key: mean for key, mean in found.items() if mean}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in (".md", ".csv", ".tex", ".jsonl")
    }


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


# --- what is committed ---------------------------------------------------------------------------

SCALES = [path.parent for path in sorted(COMMITTED.glob("*/rows"))]
SCALE_OF = {folder: scale for scale, folder in FOLDER.items()}
PANELS = [folder for folder in SCALES if (folder / "audit_panel.csv").exists()]
TABLES = [
    (folder, table)
    for folder in SCALES
    for table in sorted(folder.glob("*.csv"))
    if table.stem not in ("audit_panel", "compare_tools") and not table.stem.endswith("_evidence")
]
each_table = pytest.mark.parametrize(
    ("folder", "table"),
    TABLES or [pytest.param(None, None, marks=pytest.mark.skip("nothing committed yet"))],
    ids=lambda path: str(path and path.name),
)


@pytest.mark.parametrize("folder", PANELS, ids=lambda path: str(path.name))
def test_a_committed_panel_is_what_its_audits_say(folder: Path, tmp_path: Path) -> None:
    files = {json.loads(f.read_text())["member"]: f for f in (folder / "audits").glob("*.json")}
    assert set(files) <= {m.name for m in MEMBERS}
    audit_panel.write([m.known for m in MEMBERS], [files.get(m.name) for m in MEMBERS], tmp_path)
    for name in ("audit_panel.md", "audit_panel.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.fixture(scope="module")
def rows_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed rows without their tables; in one place, so that words compose once."""
    where = tmp_path_factory.mktemp("committed")
    for folder in SCALES:
        shutil.copytree(folder / "rows", where / folder.name / "rows")
    return where


@each_table
def test_committed_tables_are_what_committed_rows_say(
    folder: Path, table: Path, rows_alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody types into a table: a cell changes with its rows or not at all."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, path, **__: path.touch())
    monkeypatch.setattr("defensive_tensorization.report.index.write_index", lambda folder: folder)
    before = contents(rows_alone / folder.name / "rows")
    render(
        table.stem,
        [
            f"scale={SCALE_OF.get(folder.name, folder.name)}",
            "logger=none",
            f"paths.runs={rows_alone / 'none'}",
            f"paths.results={rows_alone}",
        ],
    )
    assert contents(rows_alone / folder.name / "rows") == before
    forms = [table.with_suffix(suffix) for suffix in (".md", ".csv", ".tex")]
    forms.append(table.with_name(f"{table.stem}_evidence.csv"))
    for there in (each for each in forms if each.exists()):
        made = rows_alone / folder.name / there.name
        assert made.read_bytes() == there.read_bytes(), there.name


@pytest.mark.parametrize(
    "folder",
    SCALES or [pytest.param(None, marks=pytest.mark.skip("nothing committed yet"))],
    ids=lambda path: str(path and path.name),
)
def test_committed_rows_are_sound(folder: Path) -> None:
    for file in sorted((folder / "rows").glob("*.jsonl")):
        for each in store.read([file]):
            assert each.scale == SCALE_OF.get(folder.name, folder.name)
            assert file.stem == each.run_id
            assert each.run_id.endswith(each.fingerprint[:8])
            assert each.fingerprint == cfg.digest([each.recipe, each.data_digest], 16)
            for accuracy in (each.clean_accuracy, each.robust_accuracy):
                answers = each.n * each.scored  # of which so many are right
                assert round(accuracy * answers) / answers == accuracy

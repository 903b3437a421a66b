"""Every method of every experiment: its hashes, its table of made-up rows and of committed ones.

In one file, so that one process composes each, once: scale=cpu, and values alone beside.
"""

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from golden import identities
from golden.files import read
from helpers.fake_rows import row
from helpers.files import contents, write

from defensive_tensorization import config as cfg
from defensive_tensorization.auditing.panel import MEMBERS
from defensive_tensorization.config import CONFIGS, composed
from defensive_tensorization.experiment.evaluation_config import eval_config_hash
from defensive_tensorization.experiment.plan import attacks
from defensive_tensorization.report import audit_panel
from defensive_tensorization.results import landscape_panels, store
from defensive_tensorization.results.row import Row
from defensive_tensorization.tables.render import render
from defensive_tensorization.tables.table_spec import FOLDER, laid

COMMITTED = CONFIGS.parent / "results"
GOLDEN = read(identities.FILE)
QUIET = "logger.mode=disabled"  # a value: logger=none is a group, with compositions of its own

# --- hashes -------------------------------------------------------------------------------------


def test_every_golden_configuration_is_held() -> None:
    assert list(GOLDEN) == [*identities.EXPERIMENTS, *identities.OTHERS]


def once_each() -> Iterator[Any]:
    """The others are slow: a hash that changed there would empty a cell of a committed table."""
    seen: set[str] = set()
    for words in identities.EXPERIMENTS:
        new = {words.split()[0], words.split()[-1]} - seen
        seen |= new
        yield pytest.param(words, marks=[] if new else pytest.mark.slow)


@pytest.mark.parametrize("words", once_each())
def test_every_method_of_every_experiment_keeps_its_hashes(words: str) -> None:
    config = composed(words.split())
    assert config.experiment.name == words.split()[0].removeprefix("experiment=")
    assert (config.defence.conv is None) == ("tensorization" not in config.defence.name)
    assert identities.identity(config) == GOLDEN[words]


@pytest.mark.parametrize("words", identities.OTHERS)
def test_what_no_experiment_sets_keeps_its_hashes(words: str) -> None:
    assert identities.identity(composed(words.split())) == GOLDEN[words]


def test_every_committed_row_is_of_a_golden_identity() -> None:
    """What no experiment asks for any more would never be found again."""
    rows = store.read([COMMITTED / "cpu" / "rows"])
    golden = {(each["recipe"], one) for each in GOLDEN.values() for one in each["protocols"]}
    assert rows
    assert {(row.recipe, row.protocol) for row in rows} <= golden


@pytest.mark.parametrize("file", sorted(COMMITTED.glob("*/rows/*.jsonl")), ids=lambda f: f.stem)
def test_the_committed_rows_of_a_run_are_of_one_network(file: Path) -> None:
    assert len({row.weights for row in store.read([file])}) == 1


@pytest.mark.parametrize("table", ["honest_table1", "honest_table2", "honest_table4"])
def test_every_headline_has_a_surface_of_its_own_network(table: str) -> None:
    """And no two share one: Table 4's baselines differ by the attack's surrogate alone."""
    layout = laid(table, ["scale=cpu"])
    surfaces = list(layout.surfaces.values())
    assert [c.recipe for c in surfaces] == [c.recipe for c in layout.columns]
    assert [c.sketch for c in surfaces] == [c.sketch for c in layout.columns]
    for i, one in enumerate(surfaces):
        for other in surfaces[:i]:
            shared = (one.protocols or set()) & (other.protocols or set())
            assert one.recipe != other.recipe or len(shared) <= 1  # the clean row


def test_a_surface_is_not_of_what_is_said_of_the_headline_s_attacks() -> None:
    layouts = [
        laid("honest_table4", ["scale=cpu", *more])
        for more in ([], ["attack.apgd_ce.steps=30", "eval.draws=40"])
    ]
    assert layouts[0].surfaces == layouts[1].surfaces
    assert layouts[0].columns != layouts[1].columns


# --- tables of made-up rows ----------------------------------------------------------------------


def averaged(method: str, experiment: str = "honest_table1") -> list[Row]:
    """What the honest table's method would leave: two draws that get the first of two images."""
    held = {"n": 2, "scored": 2, "correct": "0200", "votes": "30", "by_draw": "1 1"}
    config = composed([f"experiment={experiment}", "scale=cpu", f"method={method}"])
    return [
        row(
            run_id=method,
            fingerprint=method,
            recipe=cfg.train_config_hash(config),
            protocol=eval_config_hash(config, attack),
            scale="cpu",
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
    render("honest_table1", ["scale=cpu", QUIET, *paths])
    page = (tmp_path / "results" / "cpu" / "honest_table1.md").read_text()
    assert "| 2 | Ours θ=0.9 | 69.5 | 50.0 | refused |" in page
    assert "| 2 | θ=0.9's network at θ=1 | — | 50.0 | refused |" in page
    assert "\n- Ours θ=0.9, ε = 2: 50.0 [" in page
    assert "| 2 | Ours θ=0.8 | 71.8 | — | — |" in page


def test_autoattack_enters_the_honest_tables_from_an_experiment_of_its_own(tmp_path: Path) -> None:
    outside = averaged("ours_0.9", "honest_autoattack")
    assert {each.attack for each in outside} == {"clean", "autoattack"}
    write(tmp_path, averaged("ours_0.9"), outside)
    paths = [f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path / 'results'}"]
    render("honest_table1", ["scale=cpu", QUIET, *paths])
    page = (tmp_path / "results" / "cpu" / "honest_table1.md").read_text()
    _, below = page.split("**From outside**")
    assert "\n- Ours θ=0.9, ε = 2: 50.0 [" in below and "AUTOATTACK" in below
    render("honest_table1", ["scale=cpu", QUIET, *paths, "eval.images=3"])
    page = (tmp_path / "results" / "cpu" / "honest_table1.md").read_text()
    assert "From outside" not in page  # of so many images there are no rows


def test_autoattack_s_table_has_more_columns_than_a_figure(tmp_path: Path) -> None:
    write(tmp_path, averaged("ours_0.9", "honest_autoattack"))
    paths = [f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path / 'results'}"]
    render("honest_autoattack", ["scale=cpu", QUIET, *paths])
    folder = tmp_path / "results" / "cpu"
    assert "50.0" in (folder / "honest_autoattack.md").read_text()
    assert not (folder / "honest_autoattack.png").exists()


def test_the_surface_is_a_page_and_a_figure(tmp_path: Path) -> None:
    config = composed(["experiment=honest_surface", "scale=cpu", "method=ours_0.8"])
    attack = next(a for a in attacks(config) if (a.epsilon, a.draws, a.steps) == (2, 5, 50))
    held = {"n": 2, "scored": 2, "correct": "0200", "votes": "30", "by_draw": "1 1"}
    cell = row(
        run_id="one",
        recipe=cfg.train_config_hash(config),
        protocol=eval_config_hash(config, attack),
        scale="cpu",
        attack="eot_pgd",
        epsilon=2.0,
        steps=50,
        options="average=gradient draws=5 restarts=1 keep=best",
        **held,
    )
    write(tmp_path, [cell])
    paths = [f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path / 'results'}"]
    made = render("honest_surface", ["scale=cpu", QUIET, *paths])
    page, figure, _ = made
    assert "| 50 | — | 50.0 [" in page.read_text()
    assert "Not settled: 1 of 25 cells of its surface are run." in page.read_text()
    assert figure.suffix == ".png" and figure.is_file()


# --- committed tables ---------------------------------------------------------------------------

SCALES = [path.parent for path in sorted(COMMITTED.glob("*/rows"))]
SCALE_OF = {folder: scale for scale, folder in FOLDER.items()}
PANELS = [folder for folder in SCALES if (folder / "audit_panel.csv").exists()]
TABLES = [
    (folder, table)
    for folder in SCALES
    for table in sorted([*folder.glob("*.csv"), *folder.glob("honest_surface*.md")])
    if table.stem not in ("audit_panel", "compare_tools")
    and not table.stem.endswith(("_evidence", "_networks"))
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


READ = store.read


@cache
def read_once(*folders: Path) -> tuple[Row, ...]:
    """Thousands of rows, which each table reads three times."""
    return tuple(READ(folders))


@each_table
def test_committed_tables_are_what_committed_rows_say(
    folder: Path, table: Path, rows_alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody types into a table: a cell changes with its rows or not at all."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, path, **__: path.touch())
    monkeypatch.setattr("defensive_tensorization.report.index.write_index", lambda folder: folder)
    monkeypatch.setattr(store, "read", lambda paths: list(read_once(*paths)))
    before = contents(rows_alone / folder.name / "rows")
    render(
        table.stem,
        [
            f"scale={SCALE_OF.get(folder.name, folder.name)}",
            QUIET,
            f"paths.runs={rows_alone / 'none'}",
            f"paths.results={rows_alone}",
        ],
    )
    assert contents(rows_alone / folder.name / "rows") == before
    forms = [table.with_suffix(suffix) for suffix in (".md", ".csv", ".tex")]
    forms += [table.with_name(f"{table.stem}{of}.csv") for of in ("_evidence", "_networks")]
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


# --- figures of landscapes ----------------------------------------------------------------------

FIGURES = sorted(COMMITTED.glob("*/figure?.npz"))


@pytest.mark.parametrize(
    "file",
    FIGURES or [pytest.param(None, marks=pytest.mark.skip("nothing committed yet"))],
    ids=lambda path: str(path and path.name),
)
def test_committed_pages_are_what_committed_panels_say(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody types a number into a caption."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, path, **__: path.touch())
    monkeypatch.setattr("defensive_tensorization.report.index.write_index", lambda folder: folder)
    name = file.parent.name
    (tmp_path / name).mkdir()
    shutil.copy(file, tmp_path / name)
    words = [f"scale={SCALE_OF.get(name, name)}", f"paths.runs={tmp_path / 'none'}"]
    render(file.stem, [*words, QUIET, f"paths.results={tmp_path}"])
    for suffix in (".md", ".npz"):
        ours = (tmp_path / name / file.name).with_suffix(suffix)
        assert ours.read_bytes() == file.with_suffix(suffix).read_bytes(), ours.name
    assert not any(panel.about.dirty for panel in landscape_panels.load(file))


def test_methods_that_say_their_precision_are_laid_out_beside_rows_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of another experiment in the runs folder are no reason to look for another precision."""
    monkeypatch.setattr("defensive_tensorization.config.autocast.bfloat16", lambda _: "AMX")
    shutil.copytree(CONFIGS.parent / "results" / "smoke" / "rows", tmp_path / "rows")
    words = ["scale=cpu", f"paths.runs={tmp_path}", f"paths.results={tmp_path}"]
    layout = laid("precision", words)
    assert {c.train.autocast for c in layout.cells.values()} == {"float32", "bfloat16"}

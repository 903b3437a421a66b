"""What a table lacks is what a run would do; its time is counted from what was measured."""

import shutil
import sys
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import html_page
from helpers.figure2_panels import panels_of
from helpers.made_rows import SMALL, of
from helpers.saved_checkpoint import saved

from defensive_tensorization import config as cfg
from defensive_tensorization.commands import status
from defensive_tensorization.commands.inventory import trainings
from defensive_tensorization.commands.lacking import lacking
from defensive_tensorization.commands.rates import Rates, estimate
from defensive_tensorization.commands.report import publish
from defensive_tensorization.commands.status import overview
from defensive_tensorization.commands.work import Work
from defensive_tensorization.config import CONFIGS, Config, composed
from defensive_tensorization.report.caption import duration
from defensive_tensorization.report.selection import Column
from defensive_tensorization.results import landscape_panels, store
from defensive_tensorization.results.landscape_panels import Panel
from defensive_tensorization.results.passes import passes
from defensive_tensorization.results.row import Row
from defensive_tensorization.tables.catalogue import catalogue
from defensive_tensorization.tables.table_spec import Layout, laid

OURS = ("ours_1", "ours_0.9")


@pytest.fixture(scope="module")
def layout() -> Layout:
    """A table of three networks that do not start from each other."""
    words = [*SMALL, "dataset=digits", "train.init=scratch"]
    cells = {method: composed([*words, f"method={method}"]) for method in ("baseline", *OURS)}
    columns = tuple(
        Column(method, "", cfg.train_config_hash(cell)) for method, cell in cells.items()
    )
    config = cells["baseline"]
    return replace(laid("quickstart", SMALL), config=config, cells=cells, columns=columns)


def jobs(layout: Layout) -> list[Config]:
    return list(layout.cells.values())


def rows(config: Config, **changes: object) -> list[Row]:
    changes |= {"dataset": "digits", "width": config.model.width}
    return of(config, 0.5, batchnorm=cfg.batchnorm(config), **changes)


def timed(config: Config) -> list[Row]:
    """1,000 images: 2 s to look at them, 10 s for FGSM as well (a gradient is two more passes)."""
    clean, attacked = rows(config, seconds=2.0, steps=0), rows(config, seconds=10.0, steps=1)
    return [c if c.attack == "clean" else a for c, a in zip(clean, attacked, strict=True)]


@pytest.mark.parametrize(
    ("of", "cost"),
    [
        ((2,), 2),
        ((2, 5, 10), 2 + 3 * 5 * 10),
        ((1, 1, 1, {"sizes": 1000}), 1 + 3 + 1000),
        ((1, 1, 1, {"sizes": "1000"}), 1 + 3 + 1000),  # as a row keeps it
        ((1, 1, 1, {"sizes": "single"}), 1 + 3),
    ],
)
def test_passes_of_a_row_by_hand(of: tuple[Any, ...], cost: int) -> None:
    assert passes(*of) == cost


def test_a_table_without_anything_lacks_everything(layout: Layout) -> None:
    work = lacking(jobs(layout), [], [], [])
    assert layout.counted([]) == (6, 6)
    epochs = layout.config.train.epochs
    assert {name: left for name, (_, left) in work.trainings.items()} == {
        cfg.train_config_hash(config): epochs for config in layout.cells.values()
    }
    assert len(work.scorings) == 3 * 2 * 2  # methods, clean and FGSM, seeds
    assert Rates([], []).of(work) == (0, 3, 12)
    assert estimate(*Rates([], []).of(work)) == "no estimate for 3 networks and 12 rows"


def test_what_is_there_is_not_done_again(layout: Layout, tmp_path: Path) -> None:
    baseline, ours = rows(layout.cells["baseline"]), rows(layout.cells["ours_0.9"])
    saved(tmp_path, "one", layout.cells["ours_1"], epochs=1, seconds=5)
    made = trainings(tmp_path)
    epochs = layout.config.train.epochs
    have = [*baseline, *ours[:-1]]
    work = lacking(jobs(layout), have, ours[:-1], made)
    assert layout.counted(have) == (
        6,
        2,
    )  # a cell that lacks a seed has a number already, as in the report
    assert cfg.train_config_hash(layout.cells["baseline"]) not in work.trainings
    left = {name: work.trainings[cfg.train_config_hash(layout.cells[name])][1] for name in OURS}
    assert left == dict.fromkeys(OURS, epochs) | {"ours_1": epochs - 1}
    assert len(work.scorings) == 1 + 4
    # rows that lie in results alone say what a table has; a run here would make them all again
    assert len(lacking(jobs(layout), have, [], made).scorings) == 4 + 4
    whole = [row for config in layout.cells.values() for row in rows(config)]
    assert lacking(jobs(layout), whole, [], []) == Work()
    assert layout.counted(whole) == (6, 0)


def test_cells_are_counted_as_the_table_shows_them(layout: Layout) -> None:
    """Two columns may share a clean row and show it twice."""
    of = layout.columns[0]
    twice = replace(layout, columns=(of, replace(of, label="again")))
    clean = [row for row in rows(layout.cells["baseline"]) if row.attack == "clean"]
    assert twice.counted([]) == (4, 4) and twice.counted(clean) == (4, 2)


def test_rows_of_other_data_fill_no_cell(layout: Layout) -> None:
    """This machine's own data is shown where both are there."""
    committed = rows(layout.cells["baseline"])
    own = rows(layout.cells["ours_1"], data_digest="e" * 16)
    assert layout.counted([*committed, *own]) == (6, 2)
    assert layout.counted([*committed, *own], layout.own_data(own)) == (6, 4)


COMMITTED = ["scale=cpu", "logger=none"]


def counted_by_both(where: Path, names: Sequence[str] | None) -> dict[str, tuple[str, str]]:
    """By experiment: what `make list` says is missing, and what the report's overview says is
    there, both as "N of M"."""
    shutil.copytree(CONFIGS.parent / "results" / "cpu", where / "cpu")
    words = [*COMMITTED, f"paths.results={where}", f"paths.runs={where / 'none'}"]
    _, _, table = overview(words, names).partition("What the tables at cpu scale lack")
    lacking = {line.split()[0]: line.split()[1:4] for line in table.splitlines() if line.strip()}
    page = html_page.read(publish(words, names).read_text())
    titles = {each.experiment.title: each for each in catalogue(words, names)}
    found = {}
    for line in html_page.grid(page.one("section", id="overview").one("table")):
        config = titles[line[0].text]
        if config.landscape is None:
            name = config.experiment.name
            found[name] = (" ".join(lacking[name]), line[1].text)
    return found


def alike(missing: str, there: str) -> bool:
    (lacks, of), (has, cells) = (text.split(" of ") for text in (missing, there))
    return of == cells and int(lacks) + int(has) == int(cells)


def test_the_list_counts_as_the_report_does(tmp_path: Path) -> None:
    """Also where the methods name precisions, and where the averages are a column."""
    found = counted_by_both(tmp_path, ["precision", "audio_size"])
    assert found["precision"] == ("10 of 30", "20 of 30")
    assert all(alike(*counts) for counts in found.values()), found


@pytest.mark.slow
def test_the_list_counts_every_experiment_as_the_report_does(tmp_path: Path) -> None:
    found = counted_by_both(tmp_path, None)
    assert len(found) > 20 and all(alike(*counts) for counts in found.values()), found


def test_times_are_those_of_the_same_kind_of_work(layout: Layout, tmp_path: Path) -> None:
    epochs, images = layout.config.train.epochs, layout.config.eval.images
    saved(tmp_path, "one", layout.cells["ours_1"], epochs=1, seconds=5)
    saved(tmp_path, "two", layout.cells["ours_0.9"], epochs=epochs - 2, seconds=8)
    made, known = trainings(tmp_path), timed(layout.cells["baseline"])
    work = lacking(jobs(layout), known, known, made)
    assert images
    training = 5 * (epochs - 1) + 8 * 2  # both go on
    per_pass = (2 + 10) / (1000 * (1 + 4))
    scoring = 2 * (1 + 4) * images * per_pass  # ours_1 costs what the dense network does
    seconds, strange, unseen = Rates(made, known).of(work)
    assert seconds == pytest.approx(training + scoring)
    assert (strange, unseen) == (0, 4)  # nobody has yet attacked a random network here
    assert estimate(90.0, 1, 12) == "about 90 s, no estimate for 1 network and 12 rows"
    assert Rates(made, [*known, *timed(layout.cells["ours_0.9"])]).of(work)[1:] == (0, 0)


def test_the_list_names_networks_tables_and_what_was_measured(
    layout: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(status, "laid", lambda name, overrides: layout)
    saved(Path("runs/checkpoints"), "one", layout.cells["ours_1"], epochs=1, seconds=5)
    known = timed(layout.cells["baseline"])
    for each in known:
        store.append(Path("runs/rows") / f"{each.run_id}.jsonl", each)
    text = overview([*SMALL, "paths.results=runs/quickstart"], ["quickstart"])
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert text.startswith("1 checkpoints in runs, ")
    assert lines[known[0].run_id][2:7] == ["smoke", "—", "90.0", "—", "4"]
    assert lines["quickstart"][1:6] == ["4", "of", "6", "2", "8"]
    assert "no estimate for 1 network and 4 rows" in text
    assert text.endswith("measured on: 2 cores of a CPU; an abacus")
    monkeypatch.setattr(sys, "argv", ["list.py", "scale=nosuch"])
    with pytest.raises(SystemExit) as caught:
        status.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: scale/nosuch does not exist")


def test_a_run_whose_own_code_is_elsewhere_is_listed_with_a_line(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(status, "laid", lambda name, overrides: layout)
    own = deepcopy(layout.cells["ours_1"])
    own.dataset._target_ = "stripes_of_a_person.load"
    saved(Path("runs/checkpoints"), "stripes-two_layers", own, epochs=1)
    saved(Path("runs/checkpoints"), "one", layout.cells["ours_1"], epochs=1)
    text = overview([*SMALL, "paths.results=runs/quickstart"], ["quickstart"])
    assert (
        "\nstripes-two_layers: its code is not on the path: add "
        "ARGS=\"'hydra.searchpath=[file://FOLDER]'\"\n"
    ) in text
    assert text.startswith("2 checkpoints in runs, ") and "\none: its code" not in text
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "stripes_of_a_person.py").write_text("def load(): ...\n")
    assert "its code" not in overview([*SMALL, "paths.results=runs/quickstart"], ["quickstart"])


FIGURE = ["experiment=figure2", "scale=smoke", "logger=none"]


def left(panels_there: list[list[Panel]]) -> list[str]:
    """Figure 2's line in the list, words after its name."""
    for i, group in enumerate(panels_there):
        landscape_panels.save(Path("runs/landscapes") / f"{i}.npz", group)
    text = overview(["scale=smoke", "paths.results=runs/results"], ["figure2"])
    (line,) = [line.split() for line in text.splitlines() if line.startswith("figure2 ")]
    return line[1:]


def test_a_figure_lacks_its_panels_and_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """theta = 1 draws nothing and has one panel, the three others two."""
    monkeypatch.chdir(tmp_path)
    assert left([])[:4] == ["7", "of", "7", "panels"]
    assert " ".join(left([])).endswith("and 7 panels")
    dense = panels_of("ours_1", 1.0, seconds=5.0)
    ours = [panels_of(m, 1.0, seconds=5.0) for m in ("ours_0.95", "ours_0.9")]
    line = " ".join(left([dense, *ours]))
    assert line.startswith("2 of 7 panels")
    # 4 panels of 11 x 11 points took 20 s: 42 draws; 21 on a grid of 51 x 51 are left
    points = composed(FIGURE).landscape.points  # type: ignore[union-attr]
    assert f"about {duration(20 / 42 / 11**2 * 21 * points**2)}, no estimate for" in line
    assert left([dense, *ours, panels_of("ours_0.8", 1.0)])[:4] == ["0", "of", "7", "panels"]

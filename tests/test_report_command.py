"""`make report`: the page of a folder, from its rows and the configuration."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
from helpers import html_page

from defensive_tensorization import config as cfg
from defensive_tensorization.commands import report as publishing
from defensive_tensorization.commands.report import publish
from defensive_tensorization.config import CONFIGS
from defensive_tensorization.results import store
from defensive_tensorization.tables.catalogue import catalogue

CPU = CONFIGS.parent / "results" / "cpu"


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> html_page.Element:
    """The page of Tables 1 and 3, of the committed rows."""
    where = tmp_path_factory.mktemp("results")
    shutil.copytree(CPU, where / "cpu")
    words = ["scale=cpu", f"paths.results={where}", f"paths.runs={where / 'none'}", "logger=none"]
    made = publish(words, ["table1", "table3"])
    assert made == where / "cpu" / "report.html"
    return html_page.read(made.read_text())


def test_the_page_has_the_committed_cells(document: html_page.Element) -> None:
    shown = document.one("section", id="table3").one("table", class_="cells")
    with (CPU / "table3.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert lines
    for line, cells in zip(lines, html_page.grid(shown), strict=True):
        texts = [cell.attributes.get("data-value", cell.text) for cell in cells]
        assert texts[2:6] == [line[k] for k in ("method", "published", "ours_mean", "ours_std")]
        assert texts[6] == line["difference"]
        assert cells[-1].one("a").attributes["href"].endswith(line["protocol"])


def test_every_row_is_there_and_a_recipe_can_be_checked(document: html_page.Element) -> None:
    runs = document.all("section", class_="run")
    assert len(runs) == len(list((CPU / "rows").glob("*.jsonl")))
    recipes = {}
    for run in runs:
        name = run.one("h3").text
        rows = store.read([CPU / "rows" / f"{name}.jsonl"])
        seeds = [line[4].text.split() for line in html_page.grid(run.one("table"))]
        assert sum(map(len, seeds)) == len(rows)
        if run.all("pre"):
            recipes[rows[0].recipe] = cfg.digest(json.loads(run.one("pre").text), 16)
    assert recipes == {recipe: recipe for recipe in recipes}
    assert len(recipes) == 5  # of Table 1; Table 3's is among them


def test_the_page_opens_with_the_sentence_of_table_1(document: html_page.Element) -> None:
    """As it stands under the committed table."""
    told = document.one("header").one("strong").text
    assert told and told in (CPU / "table1.md").read_text().splitlines()


def test_tables_of_trials_have_their_own_folder() -> None:
    named = ["table3", "quickstart"]
    assert [each.experiment.name for each in catalogue([], named)] == ["table3"]
    there = catalogue(["paths.results=runs/quickstart"], named)
    assert [each.experiment.name for each in there] == named


def test_a_figure_of_landscapes_is_a_page_of_its_own_or_not_there_yet(tmp_path: Path) -> None:
    """And no table of the clean rows that its networks leave."""
    words = ["scale=cpu", f"paths.results={tmp_path}", f"paths.runs={tmp_path / 'none'}"]
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "figure2.md").write_text("# Figure 2: A plane\n\nIts caption.\n")
    text = publish(words, ["figure2", "figure3"]).read_text()
    document = html_page.read(text)
    assert "Its caption." in document.one("section", id="figure2").text
    [lacking] = [li.text for li in document.one("section", id="not-run").all("li")][:1]
    assert lacking.endswith("nothing yet; make reproduce-figure3 SCALE=cpu")
    assert not document.all("table", class_="cells")


def test_audits_of_the_scale_are_on_the_page(tmp_path: Path) -> None:
    """Not those of another scale, nor of the panel's known models."""
    audits = tmp_path / "runs" / "audits"
    audits.mkdir(parents=True)
    for name, scale, member in (("a", "cpu", None), ("b", "smoke", None), ("c", "cpu", "noise")):
        (audits / f"{name}.json").write_text(json.dumps({"scale": scale, "member": member}))
        (audits / f"{name}.md").write_text(f"# Audit: {name}\n\nIts verdict.\n")
    words = ["scale=cpu", f"paths.results={tmp_path}", f"paths.runs={tmp_path / 'runs'}"]
    document = html_page.read(publish(words, ["figure2"]).read_text())
    shown = {h2.text for h2 in document.all("h2")}
    assert "Audit: a" in shown and not shown & {"Audit: b", "Audit: c"}


def test_bad_input_gets_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["report.py", "scale=nosuch"])
    with pytest.raises(SystemExit) as caught:
        publishing.main()
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: scale/nosuch does not exist") and said.count("\n") == 1

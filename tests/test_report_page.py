"""The page says what the rows say, leads from cells to rows, is well formed and loads nothing."""

import base64
import json
import re
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import html_page
from helpers.evidence_rows import OURS
from helpers.evidence_rows import TABLE as EVIDENCE
from helpers.evidence_rows import rendered as evidence
from helpers.fake_rows import COLUMNS, LINES, TABLE, row, table_rows
from helpers.html_page import Element
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from defensive_tensorization.config import digest
from defensive_tensorization.report.evidence import sentence
from defensive_tensorization.report.origins import Run
from defensive_tensorization.report.page import Entry, page
from defensive_tensorization.report.tables import Table, render
from defensive_tensorization.results.row import Row

PUBLISHED = {
    ("clean", 0.0, "baseline"): 95.3,
    ("fgsm", 8.0, "ours_0.95"): 65.4,
    ("pgd", 8.0, "ours_0.8"): 42.9,
    ("pgd", 8.0, "baseline"): 0.0,
}
COPIED = {("fgsm", 8.0, "ours_0.95"): "another paper"}
IDENTITY = {"dataset": {"name": "cifar10"}, "defence": {"θ": 0.95, "odd": "</script><b>"}}
ABSENT = ("pgd", 8.0, "recipe-c")


def rows() -> list[Row]:
    """Of TABLE without one cell; each seed of a cell by another command at another commit."""
    return [
        replace(each, commit=f"c{each.eval_seed}", command=f"python -m x seed={each.eval_seed} '<'")
        for each in table_rows()
        if (each.attack, each.epsilon, each.recipe) != ABSENT
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Figures, an audit in Markdown and one in HTML, a table's own files."""
    where = tmp_path_factory.mktemp("cpu")
    for name in ("table1", "loss", "figure2", "other"):
        about = PngInfo()
        about.add_text("Title", f"{name} <in> grey")
        about.add_text("Description", f"What {name} shows.")
        Image.new("RGB", (3, 2), (len(name), 0, 0)).save(where / f"{name}.png", pnginfo=about)
    (where / "table1.csv").write_text("attack\n")
    (where / "README.md").write_text("# Results\n")
    (where / "table1.md").write_text("# Table 1\n")
    (where / "audit_a.md").write_text("# Audit of <a>\n\nIt is **masked**.\n\n![loss](loss.png)\n")
    (where / "honest_a.md").write_text("# Honest\n\n| a |\n|---|\n| 1 |\n")
    (where / "honest_b.md").write_text("# Honest\n\nNo rows yet.\n")
    (where / "audit_b.html").write_text('<!DOCTYPE html><p id=main>"b" & c</p>')
    return where


def made(folder: Path) -> str:
    held = rows()
    empty = Table("table9", "Table 9 <not> run", COLUMNS, LINES)
    whole = render(TABLE, held, PUBLISHED, elsewhere=COPIED)
    entries = [
        Entry("table1", TABLE.title, "make one", whole, tuple(held)),
        Entry("table9", empty.title, "make nine", render(empty, [], PUBLISHED), ()),
        Entry("figure2", "Figure 2: the loss", "make figure2"),
        Entry("figure3", "Figure 3: the loss again", "make figure3"),
        Entry("honest_a", "Honest one", "make honest", None, tuple(held[:1])),
        Entry("honest_b", "Honest none", "make none", None, ()),
    ]
    names = sorted({each.run_id for each in held})
    found = [Run(name, [r for r in held if r.run_id == name], IDENTITY) for name in names]
    return page(folder, "cpu", entries, found)


@pytest.fixture(scope="module")
def document(folder: Path) -> Element:
    return html_page.read(made(folder))


def section(document: Element, name: str) -> Element:
    return document.one("section", id=name)


def of(attack: str, epsilon: float, recipe: str) -> list[Row]:
    return [r for r in rows() if (r.attack, r.epsilon, r.recipe) == (attack, epsilon, recipe)]


def test_tables_have_captions_heads_with_a_scope_and_lines_as_wide(document: Element) -> None:
    tables = document.all("table")
    assert len(tables) == 1 + 2 + 1 + 3 + 1  # overview, Table 1 twice, 9, three runs, a page's own
    captions = [caption.text for table in tables for caption in table.all("caption")]
    assert all(captions) and len(captions) == len(tables) - 1
    for table in tables:
        heads = table.one("thead").all("th")
        assert {head.attributes["scope"] for head in heads} == {"col"}
        for line in html_page.grid(table):
            assert len(line) == len(heads)
            assert [cell.name for cell in line] == ["th"] + ["td"] * (len(heads) - 1)
            assert line[0].attributes["scope"] == "row"
    regions = document.all("div", role="region")
    assert all(
        each.attributes["tabindex"] == "0" and each.attributes["aria-label"] for each in regions
    )
    assert sum(len(each.all("table")) for each in regions) == len(tables)


def test_every_address_is_on_the_page_or_beside_it(document: Element, folder: Path) -> None:
    ids = {
        e.attributes["id"]
        for kind in ("section", "tr", "li", "main")
        for e in document.all(kind)
        if "id" in e.attributes
    }
    links = [a.attributes["href"] or "" for a in document.all("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    beside = {link for link in links if not link.startswith("#")}
    assert beside == {
        "table1.md",
        "table1.csv",
        "honest_a.md",
        *(f"rows/run-{i}.jsonl" for i in range(3)),
    }
    assert all((e.attributes["src"] or "").startswith("data:") for e in document.all("img"))
    assert not document.all("link") and not re.search(
        r"url\(|@import|https?:|fetch\(", made(folder)
    )
    (policy,) = [m for m in document.all("meta") if "http-equiv" in m.attributes]
    assert (policy.attributes["content"] or "").startswith("default-src 'none';")
    assert document.one("html").attributes["lang"] == "en" and document.one("title").text
    assert document.one("meta", name="viewport")


def test_a_table_as_the_paper_has_it_says_what_the_rows_say(document: Element) -> None:
    lines = html_page.grid(section(document, "table1").one("table", class_="matrix"))
    assert len(lines) == len(LINES)
    for (attack, epsilon), line in zip(LINES, lines, strict=True):
        assert line[0].text == ("Clean" if attack == "clean" else attack.upper())
        assert line[1].text == ("" if attack == "clean" else f"{epsilon:g}")
        for column, cell in zip(COLUMNS, line[2:], strict=True):
            mine = [100 * r.robust_accuracy for r in of(attack, epsilon, column.recipe)]
            known = PUBLISHED.get((attack, epsilon, column.paper))
            star = "*" if (attack, epsilon, column.paper) in COPIED else ""
            paper = "" if known is None else f"paper {known:.1f}{star}"
            if not mine:
                assert (cell.text, cell.attributes["data-value"]) == ("not run" + paper, "")
                continue
            mean = statistics.fmean(mine)
            if known is not None:
                paper += f", {mean - known:+.1f}".replace("-", "−")
            assert cell.text == f"{mean:.1f} ± {statistics.stdev(mine):.1f}{paper}"
            assert float(cell.attributes["data-value"] or "") == pytest.approx(mean, abs=1e-3)


def test_cell_by_cell_published_ours_and_difference(document: Element) -> None:
    lines = html_page.grid(section(document, "table1").one("table", class_="cells"))
    expected = [(a, e, column) for a, e in LINES for column in COLUMNS]
    for (attack, epsilon, column), line in zip(expected, lines, strict=True):
        mine = [100 * r.robust_accuracy for r in of(attack, epsilon, column.recipe)]
        known = PUBLISHED.get((attack, epsilon, column.paper))
        ours = statistics.fmean(mine) if mine else None
        assert line[2].text == column.label
        for cell, value in zip(line[3:7], (known, ours, None, None), strict=True):
            assert (cell.attributes["data-value"] == "") == (cell.text in ("—", "not run"))
            if value is not None:
                assert float(cell.attributes["data-value"] or "") == pytest.approx(value, abs=5e-3)
                assert cell.text.rstrip("*") == f"{value:.1f}"
        assert (line[4].text == "not run") == (not mine)
        if known is not None and ours is not None:
            assert line[6].text == f"{ours - known:+.1f}".replace("-", "−")
        else:
            assert line[6].text == "—"
        assert [cell.text for cell in line[7:]] == (
            ["1,000", "3", "rows"] if mine else ["—", "—", "—"]
        )


def test_each_cell_leads_to_its_rows_and_they_to_commit_command_and_configuration(
    document: Element,
) -> None:
    places = {
        e.attributes["id"]: e
        for kind in ("tr", "li", "section")
        for e in document.all(kind)
        if "id" in e.attributes
    }
    for run in document.all("section", class_="run"):
        (text,) = [pre.text for pre in run.all("pre")]
        assert digest(json.loads(text), 16) == digest(IDENTITY, 16)
    matrix = section(document, "table1").one("table", class_="matrix")
    for (attack, epsilon), line in zip(LINES, html_page.grid(matrix), strict=True):
        for column, cell in zip(COLUMNS, line[2:], strict=True):
            mine = of(attack, epsilon, column.recipe)
            if not mine:
                assert cell.all("a") == []
                continue
            to = places[(cell.one("a").attributes["href"] or "")[1:]]
            told = [c.text for c in to.children if isinstance(c, Element)]
            each = " ".join(f"{100 * r.robust_accuracy:.2f}" for r in mine)
            assert told[3:6] == ["0–2", each, "1,000"]
            assert told[6] == "c0, c1, c2"
            commands = [places[(a.attributes["href"] or "")[1:]].text for a in to.all("a")[:3]]
            assert commands == [r.command for r in mine]
            where = next(
                i
                for i, r in enumerate((r for r in rows() if r.run_id == mine[0].run_id), 1)
                if r == mine[0]
            )
            assert told[8] == f"{where}–{where + 2}"
            assert told[-1] == ("table1, honest_a" if rows()[0] in mine else "table1")


def test_what_was_not_run_is_said_and_nowhere_a_zero(document: Element) -> None:
    told = section(document, "not-run")
    assert [item.text for item in told.all("li")] == [
        f"{TABLE.title}: lacks 1 of 15 cells; make one",
        "Table 9 <not> run: has none of its 15 cells; make nine",
        "Figure 3: the loss again: nothing yet; make figure3",
        "Honest none: nothing yet; make none",
    ]
    cells = [
        cell for line in html_page.grid(told.one("table", class_="matrix")) for cell in line[2:]
    ]
    assert {cell.text[:7] for cell in cells} == {"not run"}
    assert {cell.attributes["data-value"] for cell in cells} == {""}
    overview = html_page.grid(section(document, "overview").one("table"))
    assert [[cell.text for cell in line[1:3]] for line in overview] == [
        ["14 of 15", "in part"],
        ["0 of 15", "not run"],
        ["—", "there"],
        ["—", "not run"],
        ["—", "there"],
        ["—", "not run"],
    ]
    absent = [cell for line in overview for cell in line if cell.text in ("—", "not run")]
    assert len(absent) == 7 and {cell.attributes["data-value"] for cell in absent} == {""}


def test_figures_and_audits_are_on_the_page_itself(document: Element, folder: Path) -> None:
    def pictures(name: str) -> list[bytes]:
        found = section(document, name).all("img")
        return [base64.b64decode((e.attributes["src"] or "").split(",")[1]) for e in found]

    for name, file in (
        ("table1", "table1"),
        ("audit_a", "loss"),
        ("figure2", "figure2"),
        ("figures", "other"),
    ):
        assert pictures(name) == [(folder / f"{file}.png").read_bytes()]
    image = section(document, "table1").one("img")
    assert image.attributes["alt"] == "table1 <in> grey. What table1 shows."
    assert (image.attributes["width"], image.attributes["height"]) == ("3", "2")
    audit = section(document, "audit_a")
    assert (audit.one("h2").text, audit.one("strong").text) == ("Audit of <a>", "masked")
    frame = section(document, "audit_b").one("iframe")
    assert frame.attributes["srcdoc"] == (folder / "audit_b.html").read_text()
    assert frame.attributes["sandbox"] == ""
    assert "No audit" not in section(document, "not-run").text


def test_audits_that_lie_elsewhere_are_shown_with_their_figures(tmp_path: Path) -> None:
    """The panel of known models is no audit of a trained network."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "audit_panel.md").write_text("# The panel\n")
    bare = html_page.read(page(tmp_path / "cpu", "cpu", [], []))
    assert "No audit of a trained network" in section(bare, "not-run").text
    (tmp_path / "run-1.md").write_text("# Audit: run-1\n\n**masked**\n\n![loss](run-1.png)\n")
    Image.new("RGB", (3, 2)).save(tmp_path / "run-1.png")
    document = html_page.read(page(tmp_path / "cpu", "cpu", [], [], [tmp_path / "run-1.md"]))
    audit = section(document, "run-1")
    assert (audit.one("h2").text, audit.one("strong").text) == ("Audit: run-1", "masked")
    assert (audit.one("img").attributes["src"] or "").startswith("data:image/png;base64,")
    assert "No audit" not in section(document, "not-run").text


def test_the_same_rows_give_the_same_page_and_none_a_page_too(folder: Path, tmp_path: Path) -> None:
    assert made(folder) == made(folder)
    bare = html_page.read(page(tmp_path, "cpu", [], []))
    assert "There are no rows yet." in section(bare, "rows").text
    assert "No audit of a trained network" in section(bare, "not-run").text


def test_the_page_opens_with_its_conclusion(tmp_path: Path) -> None:
    """In the words under the table; without one it says that there is none."""
    shown = replace(evidence(), table=replace(EVIDENCE, shown=OURS.label))
    entry = Entry(shown.table.name, shown.table.title, "make one", shown, ())
    header = html_page.read(page(tmp_path, "cpu", [entry], [])).one("header")
    first, *_ = header.all("p")
    assert first.one("strong").text == sentence(shown) != ""
    assert first.one("a").attributes["href"] == f"#{shown.table.name}"
    bare = html_page.read(page(tmp_path, "cpu", [], [])).one("header").all("p")[0]
    assert bare.text.startswith("No conclusion yet: no table here")


def test_rows_of_two_trainings_have_two_places(tmp_path: Path) -> None:
    held = [row(), row(weights="w" * 16, eval_seed=1)]
    document = html_page.read(page(tmp_path, "cpu", [], [Run("run", held)]))
    assert len(html_page.grid(section(document, "rows").one("table"))) == 2


def test_the_history_of_cost_has_a_line_a_time_and_none_is_no_section(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    assert "over time" not in page(tmp_path, "cpu", [], [], speed=path)
    path.write_text(
        "date,commit,processor,precision,ratio,minimum,median\n"
        "2026-01-01,abc,a,float32,one / two,1.5,1.625\n"
        "2026-01-02,def,a,float32,one / two,1.25,1.375\n"
        "2026-01-02,def,a,float32,three / four,0.5,0.75\n"
    )
    document = html_page.read(page(tmp_path, "cpu", [], [], speed=path))
    section = document.one("section", id="speed")
    lines = [
        [cell.text.strip() for cell in [*line.all("th"), *line.all("td")]]
        for line in section.all("tr")
    ]
    assert lines == [
        ["Date", "Commit", "Precision", "Processor", "one / two", "three / four"],
        ["2026-01-02", "def", "float32", "a", "1.25 (1.38)", "0.50 (0.75)"],
        ["2026-01-01", "abc", "float32", "a", "1.50 (1.62)", "not run"],
    ]

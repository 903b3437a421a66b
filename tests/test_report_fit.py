"""Readings held against published cells, with numbers worked out by hand."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fake_rows import row
from PIL import Image

from defensive_tensorization.report.fit import (
    Held,
    accuracy,
    fits,
    markdown,
    missed_unattacked,
    records,
    relative_to_clean,
)
from defensive_tensorization.report.fit_networks import Left, Network
from defensive_tensorization.report.fit_networks import lines as network_lines
from defensive_tensorization.report.fit_networks import records as network_records
from defensive_tensorization.report.selection import Column
from defensive_tensorization.report.width_figure import COSINE, FOUND, draw, drawable, points
from defensive_tensorization.results.row import Row

OURS = Column("recalibrated", "ours_0.9", "recipe-a", frozenset({"clean", "fgsm", "bim", "search"}))
CELLS = relative_to_clean({("fgsm", 8.0): 69.75, ("bim", 8.0): 37.2}, clean=93.0)  # 0.75, 0.40
NETWORK = Network(
    "recalibrated",
    {
        ("clean", 0.0): Left(0.8, None, 100, 1),
        ("foolbox1_pgd", 8.0): Left(0.25, 0.5, 100, 1),
        ("foolbox1_pgd", 16.0): Left(0.2, 0.5, 100, 1),
        ("eot_pgd", 8.0): Left(0.0125, None, 100, 1),
    },
)
HELD = [Held("recalibrated", OURS, OURS, "table1", CELLS)]


def rows() -> list[Row]:
    common = {"recipe": "recipe-a", "n": 100, "clean_accuracy": 0.8, "theta": 0.9}
    return [
        row(**common, attack="clean", epsilon=0.0, robust_accuracy=0.8, protocol="clean"),
        row(
            **common,
            attack="foolbox1_fgsm",
            protocol="fgsm",
            robust_accuracy=0.48,  # 0.60 of clean
            options="sizes=1000 not_found=clean draw_per=batch",
            outcomes="nothing=20:16 unperturbed=30:10 found=50:22",
        ),
        row(
            **common,
            attack="foolbox1_bim_search",
            protocol="search",
            robust_accuracy=0.40,  # 0.50 of clean
            options="algorithm=foolbox1_bim binary_search=on not_found=clean draw_per=batch",
            outcomes="unperturbed=40:8 found=50:26 beyond=10:6",
        ),
    ]


def test_what_counts_as_correct_is_added() -> None:
    fgsm = [rows()[1]]
    assert accuracy(fgsm) == pytest.approx(0.48)
    assert accuracy(fgsm, ["nothing"]) == pytest.approx(0.52)  # 16 of 20 become 20


def test_every_reading_is_there_and_the_best_comes_first() -> None:
    found = {(fit.attacks, fit.reading): fit.rms() for fit in fits(HELD, rows())}
    assert found == {
        (("fgsm",), "sizes 1000"): pytest.approx(15.0),  # 0.60 against 0.75
        (("fgsm",), "sizes 1000; images without a miss count as correct"): pytest.approx(
            10.0
        ),  # 0.65
        (("bim", "pgd"), "binary search on"): pytest.approx(10.0),  # 0.50 against 0.40
        (("bim", "pgd"), "binary search on; beyond ε counts as correct"): pytest.approx(15.0),
    }
    ordered = [fit.reading for fit in fits(HELD, rows()) if fit.attacks == ("fgsm",)]
    assert ordered[0] == "sizes 1000; images without a miss count as correct"


def test_the_measure_is_over_all_cells_of_all_tables() -> None:
    second = Held("recalibrated", OURS, OURS, "table3", {("fgsm", 8.0): 0.40})
    fit = next(f for f in fits([*HELD, second], rows()) if f.reading == "sizes 1000")
    assert fit.rms("table1") == pytest.approx(15.0)
    assert fit.rms("table3") == pytest.approx(20.0)
    assert fit.rms() == pytest.approx(100 * math.sqrt((0.15**2 + 0.20**2) / 2))
    assert fit.rms("table4") is None


def test_images_missed_before_any_attack_say_the_accuracy_at_theta_1() -> None:
    assert missed_unattacked(rows()[1:2]) == pytest.approx(0.3)
    assert missed_unattacked(rows()[:1]) is None


def test_the_page_names_the_best_and_what_is_not_measured() -> None:
    page = markdown("Readings", fits(HELD, rows()), [NETWORK], ("table1", "table3"), ())
    assert "| FGSM | sizes 1000 | recalibrated | — | 15.0 | — |" in page
    assert "## BIM, PGD: binary search on; recalibrated" in page
    assert "| Table 1 | BIM | 8 | 40 | 50 |" in page
    assert "| recalibrated | 80.0 | — | 25.0 | 0.50 | 1.2 |" in page  # at 8, where one did not stop
    assert "| Network | clean accuracy at θ | clean accuracy at θ = 1 | PGD at 8, stopped |" in page
    assert len(records(fits(HELD, rows()))) == 4


def test_a_record_says_what_an_attack_left_of_a_network() -> None:
    made = network_records([NETWORK])
    assert len(made) == 4
    assert made[1] == {
        "network": "recalibrated",
        "attack": "foolbox1_pgd",
        "epsilon": 8.0,
        "accuracy": 25.0,
        "right_given_found": 0.5,
        "gradient_cosine": None,
        "n": 100,
        "seeds": 1,
    }


def test_agreement_of_gradients_stands_beside_the_clean_accuracy() -> None:
    agreeing = replace(NETWORK, cosine=0.375, compared=64)
    heads, line, other = network_lines([agreeing, NETWORK])
    assert heads[-1] == "cosine of two draws' gradients, 64 images"
    assert (line[-1], other[-1]) == ("0.38", "—")
    told = {(each["attack"], each["gradient_cosine"]) for each in network_records([agreeing])}
    assert told == {("clean", 0.375), ("foolbox1_pgd", None), ("eot_pgd", None)}
    wide, narrow = replace(agreeing, width=16), replace(NETWORK, width=8)
    assert points([wide, narrow], COSINE, 0.0) == [(16, 37.5)]


def test_a_table_of_which_some_cells_are_missing_has_no_fit() -> None:
    cells = {("fgsm", 8.0): 0.5, ("fgsm", 16.0): 0.5}
    other = Column("running", "ours_0.9", "recipe-b", frozenset({"clean", "fgsm"}))
    held = [Held("recalibrated", OURS, OURS, "table1", cells)]
    held.append(Held("running", other, other, "table1", cells))
    made = [each for each in rows() if not each.attack.endswith("search")]
    theirs = [replace(each, recipe="recipe-b") for each in made]
    more = [*made, *theirs, replace(theirs[1], epsilon=16.0)]
    assert {fit.handling for fit in fits(held, more)} == {"running"}
    assert {fit.handling for fit in fits(held, [*made, *theirs])} == {"recalibrated", "running"}


def test_lines_over_width_are_what_each_network_keeps(tmp_path: Path) -> None:
    def network(width: int | None, batchnorm: str, kept: float, given: float | None) -> Network:
        stopped = {("foolbox1_pgd", 8.0): Left(kept, given, 100, 1)}
        return Network(f"{width} {batchnorm}", stopped if width else {}, width, batchnorm)

    wide, narrow = network(16, "running", 0.25, 0.5), network(8, "running", 0.125, None)
    assert points([wide, narrow], "foolbox1_pgd", 8.0) == [(8, 12.5), (16, 25.0)]
    assert points([wide, narrow], FOUND, 8.0) == [(16, 50.0)]
    assert points([wide, narrow], "pgd", 8.0) == []
    other, without_rows = network(16, "batch", 0.2, None), network(None, "", 0, None)
    assert drawable([wide, narrow])
    assert not drawable([wide, other, without_rows])
    about = (("data", "CIFAR-10"), ("at cpu scale", "narrower"), ("commit", "abc"))
    path = draw([wide, narrow, other, without_rows], "Widths", about, tmp_path / "width.png")
    told = Image.open(path).text["Description"]
    assert told == "ε in 1/255. data: CIFAR-10; at cpu scale: narrower; not run: None ."

"""Readings held against published cells, with numbers worked out by hand."""

import math

import pytest
from helpers.fake_rows import row

from defensive_tensorization.report.fit import (
    Held,
    accuracy,
    fits,
    markdown,
    missed_unattacked,
    records,
    relative_to_clean,
)
from defensive_tensorization.report.selection import Column
from defensive_tensorization.results.row import Row

OURS = Column("recalibrated", "ours_0.9", "recipe-a", frozenset({"clean", "fgsm", "bim", "search"}))
CELLS = relative_to_clean({("fgsm", 8.0): 69.75, ("bim", 8.0): 37.2}, clean=93.0)  # 0.75, 0.40
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
        (("fgsm",), "sizes 1000; no miss counts as correct"): pytest.approx(10.0),  # 0.65
        (("bim", "pgd"), "binary search on"): pytest.approx(10.0),  # 0.50 against 0.40
        (("bim", "pgd"), "binary search on; beyond ε counts as correct"): pytest.approx(15.0),
    }
    ordered = [fit.reading for fit in fits(HELD, rows()) if fit.attacks == ("fgsm",)]
    assert ordered[0] == "sizes 1000; no miss counts as correct"


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
    page = markdown(
        "Readings", fits(HELD, rows()), {"recalibrated": (0.8, None)}, ("table1", "table3"), ()
    )
    assert "| FGSM | sizes 1000 | recalibrated | 15.0 | 15.0 | — |" in page
    assert "## BIM, PGD: binary search on; recalibrated" in page
    assert "| Table 1 | BIM | 8 | 40 | 50 |" in page
    assert "| recalibrated | 80.0 | — |" in page
    assert len(records(fits(HELD, rows()))) == 4

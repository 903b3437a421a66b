"""The side-by-side page, on answers whose scores are counted by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_rows import row
from helpers.surface_rows import PLACES, N, cell, grid

from defensive_tensorization.errors import UsageError
from defensive_tensorization.report.honest import Line, lines
from defensive_tensorization.report.honest_page import markdown, records, write
from defensive_tensorization.report.selection import Column
from defensive_tensorization.results.row import Row

OWN = frozenset({"clean", "pgd", "eot_pgd", "apgd_ce"})
BASELINE = Column("Baseline", "baseline", "recipe-b", OWN)
OURS = Column("Ours", "ours", "recipe-a", OWN)
SURFACES = {column: replace(column, protocols=PLACES) for column in (BASELINE, OURS)}
PUBLISHED = {
    ("clean", 0.0, "ours"): 93.0,
    ("fgsm", 2.0, "ours"): 70.0,
    ("pgd", 2.0, "ours"): 64.4,
    ("bim", 2.0, "ours"): 1.0,
}


def rows_of(recipe: str, pgd: int, eot: int, apgd: int) -> list[Row]:
    single = {"options": "", "recipe": recipe}
    return [
        cell(0, 1, 36, attack="clean", epsilon=0.0, protocol="clean", **single),
        cell(2, 1, pgd, attack="pgd", protocol="pgd", **single),
        cell(20, 10, eot, protocol="eot_pgd", recipe=recipe),
        cell(20, 10, apgd, attack="apgd_ce", protocol="apgd_ce", recipe=recipe),
    ]


ROWS = [*rows_of("recipe-b", 12, 8, 8), *rows_of("recipe-a", 20, 14, 10)]


def flat(ours: int = 8) -> list[Row]:
    """The surfaces of both."""
    left = {"recipe-a": ours, "recipe-b": 8}
    return [replace(each, recipe=of) for of, n in left.items() for each in grid(otherwise=n)]


def made(more: list[Row] | None = None, rows: list[Row] = ROWS) -> list[Line]:
    told = ([2.0], ["fgsm", "pgd"], PUBLISHED, {OURS: BASELINE})
    return lines([BASELINE, OURS], [*rows, *(more or [])], SURFACES, *told)


def test_published_paper_and_honest_stand_side_by_side() -> None:
    _, clean, _, ours = made()
    assert (clean.published, clean.epsilon) == (93.0, 0.0)
    assert clean.scores["mean"].estimate == 36 / N
    assert ours.published == 64.4  # the lower of the two attacks that are shown
    assert ours.paper == 20 / N
    assert ours.scores["mean"].estimate == 10 / N
    assert ours.by == "apgd_ce"


def test_the_difference_pairs_the_images() -> None:
    """20 images against 8 of the same 40: the gaps are 12 ones, 28 zeros."""
    settled = made(flat(20), rows=[*ROWS[:4], *rows_of("recipe-a", 20, 20, 20)])
    against = settled[3].against
    assert against is not None
    assert against.estimate == pytest.approx(12 / N)
    gap = np.array([1.0] * 12 + [0.0] * (N - 12) + [1, -1])  # one more image for either side
    half = 1.959964 * gap.std(ddof=1) / np.sqrt(N + 2)
    assert against.high - against.estimate == pytest.approx(half, rel=1e-5)
    assert settled[2].against is None
    assert settled[3].control == against  # the baseline is its control, too


def test_no_difference_is_taken_with_what_is_refused() -> None:
    """Whichever of the two is: ours, or what it is held against."""
    only = [[each for each in flat() if each.recipe == f"recipe-{which}"] for which in "ab"]
    for surfaces in only:
        assert made(surfaces)[3].against is made(surfaces)[3].control is None
    assert made(flat())[3].against is not None


def test_the_strongest_attack_stands_whether_it_averages_or_not() -> None:
    """5 images under one draw a step, 14 and 10 under averages."""
    *_, ours = made(rows=[*ROWS[:4], *rows_of("recipe-a", 5, 14, 10)])
    assert (ours.by, ours.scores["mean"].estimate, ours.paper) == ("pgd", 5 / N, 5 / N)


def test_a_headline_on_few_draws_waits() -> None:
    few = [replace(each, scored=29) for each in ROWS]
    assert made(rows=few)[3].refused == "it is scored on 29 draws, 30 are the least"


def test_two_trainings_make_no_headline() -> None:
    other = replace(ROWS[-1], eval_seed=1, weights="other")
    with pytest.raises(UsageError, match="Ours, apgd_ce at epsilon 2 has rows of two trainings"):
        made([other])


def test_a_headline_without_its_surface_is_refused_and_says_why() -> None:
    page = markdown("T", made(), (), "Baseline")
    assert "| 2 | Ours | 64.4 | 50.0 | refused | APGD-CE | — | — | — | — | — | — | — |" in page
    bound = "- Ours, ε = 2: 25.0 [14.2, 40.2] measured; 0 of 25 cells of its surface are run"
    assert bound in page
    settled = made(flat())
    assert [line.refused for line in settled] == ["", "", "", ""]
    assert "efused" not in markdown("T", settled, (), "Baseline")


def test_what_is_refused_has_what_was_measured_in_place_of_its_scores() -> None:
    mine = [r for r in records(made()) if (r["method"], r["epsilon"]) == ("Ours", 2.0)]
    assert {r["score"]: r["value"] for r in mine} == {
        "published": 64.4,
        "full_budget": 50.0,
        "measured": 25.0,
    }
    assert mine[0]["refused"] == "0 of 25 cells of its surface are run"


def test_autoattack_is_an_attack_like_others_and_shown_beside_them() -> None:
    """It leaves 9 of 40 where the strongest of ours leaves 10."""
    outside = cell(20, 20, 9, attack="autoattack", protocol="aa", recipe="recipe-a")
    own = replace(OURS, protocols=OWN | {"aa"})
    settled = lines([own], [*ROWS, outside, *flat(9)], {own: SURFACES[OURS]}, [2.0], ["pgd"], {})
    assert (settled[1].by, settled[1].scores["mean"].estimate) == ("autoattack", 9 / N)
    page = markdown("T", settled, (), "Ours")
    assert "**From outside**: AutoAttack" in page and "\n- Ours, ε = 2: 22.5 [" in page
    assert [r["value"] for r in records(settled) if r["score"] == "autoattack"] == [22.5]
    assert "From outside" not in markdown("T", made(), (), "Baseline")


def test_what_was_not_measured_is_a_dash_never_a_zero() -> None:
    empty = lines([BASELINE, OURS], [], SURFACES, [2.0], ["pgd"], PUBLISHED)
    page = markdown("T", empty, (), "Baseline")
    assert "| 2 | Ours | 64.4 | — | — |" in page
    assert {r["value"] for r in records(empty) if r["score"] != "published"} == {None}


def test_votes_and_extremes_by_hand() -> None:
    """One draw gets 20 of 40 images, the other none: a mean of 0.25, and a tie is no majority."""
    half = bytes((np.arange(N) < 20).astype(np.uint8)).hex()
    uneven = cell(
        *(20, 10, 0),
        **{"correct": half, "votes": "0" * N, "by_draw": "20 0", "protocol": "eot_pgd"},
    )
    [_, ours] = lines([OURS], [uneven], SURFACES, [2.0], [], {})
    found = {name: value.estimate for name, value in ours.scores.items()}
    assert (found.pop("mean"), found.pop("best")) == (0.25, 0.5)
    assert found == {"majority": 0, "probability": 0, "worst": 0, "lucky": 0}


def test_rows_scored_on_one_draw_do_not_enter() -> None:
    single = row(recipe="recipe-a", attack="pgd", epsilon=2.0, protocol="pgd")
    assert lines([OURS], [single], SURFACES, [2.0], ["pgd"], {})[1].paper is None


def test_files_hold_the_page_and_the_records(tmp_path: Path) -> None:
    page, table = write("honest", "# page\n", made(), tmp_path)
    assert page.read_text() == "# page\n"
    assert "2.0,Ours,measured,25.0," in table.read_text()

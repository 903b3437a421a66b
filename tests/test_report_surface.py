"""Whether an averaging attack has converged, on rows made up for each case."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.surface_rows import PLACES, N, cell, grid
from PIL import Image

from defensive_tensorization.errors import UsageError
from defensive_tensorization.report.selection import Column
from defensive_tensorization.report.surface import (
    DRAWS,
    STEPS,
    answers,
    convergence_failure,
    edges,
    markdown,
    records,
    surface,
)
from defensive_tensorization.report.surface_figure import figure, fixed_panels, random_panels
from defensive_tensorization.results.scores import Answers, interval

COLUMN = Column("Ours", "", "recipe-a", PLACES)


def headline(right: int) -> list[Answers]:
    return [answers(cell(20, 10, right))]


def test_a_flat_surface_settles_the_headline() -> None:
    assert convergence_failure(surface(grid(), COLUMN, 2.0), headline(10)) == ""


def test_without_randomness_one_row_stands_for_every_k() -> None:
    rows = [replace(cell(s, 1, 10), random=False) for s in STEPS]
    found = surface(rows, COLUMN, 2.0)
    assert {place: len(each) for place, each in found.items()} == dict.fromkeys(
        [(s, k) for s in STEPS for k in DRAWS], 1
    )
    assert convergence_failure(found, headline(10)) == ""
    page = markdown("Surface", [COLUMN], rows, ())
    assert "| steps | any K |\n|---:|---:|\n| 10 | 25.0 [" in page
    assert "90% intervals: from 100 to 200 steps 0.0 [0.0, 0.0].\n" in page


def test_rows_of_another_protocol_are_no_further_seeds() -> None:
    found = surface([*grid(), cell(10, 5, 40, protocol="other", n=39)], COLUMN, 2.0)
    assert len(found[10, 5]) == 1 and found[10, 5][0].accuracy == 10 / N


def test_two_trainings_make_no_surface() -> None:
    rows = [*grid(), cell(10, 5, 40, eval_seed=1, weights="other")]
    with pytest.raises(UsageError, match="Ours's surface at epsilon 2 has rows of two trainings"):
        surface(rows, COLUMN, 2.0)


def test_missing_cells_are_counted() -> None:
    found = surface(grid()[:-2], COLUMN, 2.0)
    assert convergence_failure(found, headline(10)) == "23 of 25 cells of its surface are run"
    assert convergence_failure(surface([], COLUMN, 2.0), headline(10)).startswith("0 of 25")


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ((100, 50), "its surface still falls by 40.0 points from 100 to 200 steps"),
        ((200, 20), "its surface still falls by 40.0 points from 20 to 50 draws"),
    ],
)
def test_a_fall_at_the_edge_is_told(before: tuple[int, int], reason: str) -> None:
    found = surface(grid({before: 20}, otherwise=4), COLUMN, 2.0)
    assert convergence_failure(found, headline(4)) == reason


def test_a_fall_within_its_interval_is_flat() -> None:
    """One of 40 images: a paired difference of 2.5 points, with a standard error of 2.5."""
    found = surface(grid({(100, 50): 11, (200, 20): 11}), COLUMN, 2.0)
    assert convergence_failure(found, headline(10)) == ""


def test_a_headline_above_its_surface_waits() -> None:
    """8 against 16 of the same 40 images: apart by pairs, though their intervals overlap."""
    found, above = surface(grid(otherwise=8), COLUMN, 2.0), headline(16)
    assert interval(above).low < interval(found[200, 50]).high
    words = "on its first 40 images it is 40.0 [26.3, 55.4], and its surface comes down to 20.0 ["
    assert convergence_failure(found, above).startswith(words)
    assert convergence_failure(found, headline(8)) == convergence_failure(found) == ""


def test_a_headline_on_more_images_is_held_against_its_first() -> None:
    """100 images, the first 40 as the surface has them: 30% of all, 20% of those."""
    held = np.concatenate([np.arange(N) < 8, np.arange(60) < 22])
    more = Answers(30 * held.astype(int), held, held, np.array([30] * 30))
    assert convergence_failure(surface(grid(otherwise=8), COLUMN, 2.0), [more]) == ""
    assert more.head(N).correct.tolist() == (30 * held[:N]).tolist()


def test_edges_are_the_last_changes() -> None:
    found = surface(grid({(100, 50): 14, (200, 20): 9}), COLUMN, 2.0)
    steps, draws = edges(found).values()
    assert (steps.estimate, draws.estimate) == (pytest.approx(-4 / N), pytest.approx(1 / N))


def test_where_nothing_is_left_nothing_can_fall() -> None:
    assert convergence_failure({}, headline(0)) == ""


def test_other_networks_epsilons_controls_and_single_draws_are_left_out() -> None:
    control = cell(10, 1, 3, sketch=False, protocol="control")
    others = [
        cell(10, 1, 3, recipe="another"),
        cell(10, 1, 3, epsilon=8.0),
        control,
        cell(10, 1, 3, knowledge="frozen", protocol="frozen"),
        cell(10, 1, 3, attack="apgd_ce"),
        cell(30, 1, 3),
        cell(10, 1, 3, correct=""),
    ]
    assert surface(others, COLUMN, 2.0) == {}
    own = Column("", "", "recipe-a", frozenset({"control"}), False)
    assert set(surface([control], own, 2.0)) == {(10, k) for k in DRAWS}  # nothing is random


def test_the_page_and_its_records_hold_every_cell(tmp_path: Path) -> None:
    clean = cell(0, 1, 36, attack="clean", epsilon=0.0, options="", protocol="10-1")
    rows = [*grid({(10, 1): 20}), clean]
    page = markdown("Surface", [COLUMN], rows, ())
    assert "ε = 0" not in page
    half = interval([answers(rows[0])])
    assert f"| 10 | 50.0 [{100 * half.low:.1f}, {100 * half.high:.1f}] |" in page
    assert "\nSettled: no fall beyond noise.\n" in page
    assert "images paired, 90% intervals: from 100 to 200 steps 0.0 [" in page
    assert "No rows yet." in markdown("Surface", [COLUMN], [], ())
    found = records([COLUMN], rows)
    assert len(found) == 25 and found[0]["value"] == 50.0
    drawn = figure(rows, [COLUMN], tmp_path / "s.png", title="Surface")
    with Image.open(drawn) as image:
        assert image.info["Title"] == "Surface"


def test_random_networks_have_a_panel_each_and_the_others_a_line() -> None:
    """By hand: 10 of 40 images stand everywhere, but 20 under 10 steps of one draw."""
    fixed = [Column(f"Fixed {i}", "", f"fixed-{i}", PLACES) for i in range(9)]
    columns = [COLUMN, *fixed]
    rows = grid({(10, 1): 20}) + [
        replace(cell(s, 1, i), recipe=f"fixed-{i}", random=False) for i in range(9) for s in STEPS
    ]
    [(heading, lines)] = random_panels(rows, columns)
    assert heading == "Ours\nε = 2" and [label for label, _ in lines] == [f"K = {k}" for k in DRAWS]
    assert [mean for mean, _, _ in lines[0][1].values()] == [50, 25, 25, 25, 25]
    assert all(low < mean < high for mean, low, high in lines[0][1].values())
    (first,), (rest,) = fixed_panels(rows, columns)
    assert [label for label, _ in first[1]] == [f"Fixed {i}" for i in range(8)]
    assert first[0] == rest[0] == "ε = 2"
    ((label, line),) = rest[1]
    assert label == "Fixed 8" and {mean for mean, _, _ in line.values()} == {20}


def test_every_line_of_the_figure_is_named_by_a_legend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from matplotlib import pyplot

    kept = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    columns = [Column(f"Fixed {i}", "", f"fixed-{i}", PLACES) for i in range(9)]
    rows = [
        replace(cell(s, 1, i), recipe=f"fixed-{i}", random=False) for i in range(9) for s in STEPS
    ]
    figure(rows, columns, tmp_path / "s.png", title="Surface")
    monkeypatch.undo()
    (drawn,) = kept
    named = [[t.get_text() for of in part.legends for t in of.texts] for part in drawn.subfigs]
    assert named == [[f"Fixed {i}" for i in range(8)], ["Fixed 8"]]
    pyplot.close(drawn)


def test_a_panel_names_the_draws_that_it_lacks() -> None:
    [(heading, lines)] = random_panels([r for r in grid() if r.averaged in (1, 10)], [COLUMN])
    assert heading == "Ours\nε = 2; no rows of K = 5, 20, 50"
    assert [label for label, line in lines if line] == ["K = 1", "K = 10"]


def test_a_network_has_one_style_in_all_panels() -> None:
    """The first network has no rows at ε = 8."""
    columns = [Column(f"Fixed {i}", "", f"fixed-{i}", PLACES) for i in range(2)]
    rows = [
        replace(cell(s, 1, i), recipe=f"fixed-{i}", random=False, epsilon=e)
        for i, e in ((0, 2.0), (1, 2.0), (1, 8.0))
        for s in STEPS
    ]
    ((whole, part),) = fixed_panels(rows, columns)
    assert [label for label, _ in whole[1]] == [label for label, _ in part[1]]
    assert part[0] == "ε = 8; no rows of: Fixed 0"


def test_the_legend_names_what_is_drawn_and_the_caption_data_and_n(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from matplotlib import pyplot

    kept = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
    rows = [r for r in grid() if r.averaged in (1, 10)]
    figure(rows, [COLUMN], tmp_path / "s.png", title="Surface")
    monkeypatch.undo()
    (drawn,) = kept
    (part,) = drawn.subfigs
    assert [t.get_text() for of in part.legends for t in of.texts] == ["K = 1", "K = 10"]
    last = drawn.get_supxlabel().splitlines()
    assert "Data: CIFAR-10, JPEG q75 (folder); n = 40 (" in " ".join(last)
    assert last[-1].endswith("30 scoring draws; 1 evaluation seed.")
    pyplot.close(drawn)


def test_the_figure_fits_a_printed_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matplotlib import pyplot

    kept = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
    columns, rows = [], []
    for i in range(4):
        columns.append(Column(f"Ours {i}", "", f"random-{i}", PLACES))
        columns.append(Column(f"A network of a long name {i}", "", f"fixed-{i}", PLACES))
        for epsilon in (2.0, 8.0):
            rows += [replace(r, recipe=f"random-{i}", epsilon=epsilon) for r in grid()]
            fixed = {"recipe": f"fixed-{i}", "epsilon": epsilon, "random": False}
            rows += [replace(cell(s, 1, 10), **fixed) for s in STEPS]
    figure(rows, columns, tmp_path / "s.png", title="Surface")
    monkeypatch.undo()
    (drawn,) = kept
    wide, high = drawn.get_size_inches()
    assert wide == pytest.approx(7.2) and high < 10.5
    assert sum(axis.axison for axis in drawn.axes) == 8 + 2
    pyplot.close(drawn)

"""The four columns of evidence, from made-up rows with sums worked out by hand."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.evidence_rows import LINES, OURS, PUBLISHED, TABLE, rendered, seeds
from PIL import Image

from defensive_tensorization.report.evidence import grid, lines, sentence
from defensive_tensorization.report.evidence import records as evidence_records
from defensive_tensorization.report.evidence_figure import accuracies, draw
from defensive_tensorization.report.formats import latex, markdown, records, text, tidy
from defensive_tensorization.report.tables import Averaged, Cell, Rendered, render
from defensive_tensorization.results.scores import Interval


def test_the_four_stand_side_by_side() -> None:
    assert grid(rendered()) == [
        [
            "Network",
            "Attack",
            "ε",
            "published",
            "as Foolbox 1.x ran it",
            "full budget, one draw a step",
            "averaged over draws",
        ],
        ["Ours θ = 0.95", "Clean", "", "94.5", "", "81.0 ± 1.4", "—"],
        ["", "PGD", "8", "27.0", "32.0 ± 2.8", "1.0 ± 1.4", "0.5 [0.0, 2.0]"],
    ]


@pytest.mark.parametrize("page", [markdown, text, latex])
def test_the_caption_says_what_the_brackets_of_this_page_hold(
    page: Callable[[Rendered], str],
) -> None:
    """Intervals where there are four columns, else what is published."""
    four = " ".join(page(rendered()).split())
    assert "[0.0, 2.0]" in four and "27.0" in four
    assert "in a column of its own the published value" in four
    assert "in brackets its 95" in four and "in brackets the published" not in four
    plain = page(render(replace(TABLE, lines=LINES[::2]), seeds("pgd", 8, 0.0, 0.02), PUBLISHED))
    assert "(27.0)" in plain and "in brackets the published value" in " ".join(plain.split())
    alone = " ".join(page(render(TABLE, seeds("pgd", 8, 0.0, 0.02), PUBLISHED)).split())
    assert "in brackets" not in alone  # no interval there, and nothing else in brackets


def test_what_the_surface_does_not_confirm_is_marked() -> None:
    assert grid(rendered("1 of 25 cells"))[2][-1] == "0.5 [0.0, 2.0]†"
    assert "†: an upper bound" in markdown(rendered("1 of 25 cells"))
    assert "†" not in markdown(rendered())


def test_an_average_over_draws_of_other_weights_is_not_shown() -> None:
    trained = [replace(each, weights="new") for each in seeds("pgd", 8, 0.0)]
    scores = [Averaged(Interval(0, 0, 0), 200, "eot_pgd", weights=w) for w in ("old", "new")]
    shown = [
        render(TABLE, trained, PUBLISHED, averaged={(OURS.label, 8.0): score}).averaged
        for score in scores
    ]
    assert shown == [{}, {(OURS.label, 8.0): scores[1]}]


def test_the_csv_has_what_is_right_given_that_something_was_found() -> None:
    found = list(csv.DictReader(io.StringIO(tidy(records(rendered())))))
    stopped = next(line for line in found if line["attack"] == "foolbox1_pgd")
    assert (stopped["found"], stopped["right_given_found"]) == ("160", "31.25")  # 50 of 160
    assert (stopped["published"], stopped["difference"]) == ("27.0", "5.0")
    assert (stopped["averaged"], stopped["averaged_n"]) == ("0.5", "200")
    clean = next(line for line in found if line["attack"] == "clean")
    assert (clean["found"], clean["averaged"]) == ("", "")


def test_the_csv_of_the_evidence_has_a_line_for_each_of_the_table() -> None:
    clean, pgd = evidence_records(rendered("1 of 25 cells"))
    assert (clean["stopped"], clean["full"], clean["averaged"]) == (None, 81.0, None)
    assert (pgd["published"], pgd["stopped"], pgd["stopped_std"]) == (27.0, 32.0, 2.8284)
    assert (pgd["full"], pgd["full_n"], pgd["full_seeds"]) == (1.0, 100, 2)
    assert (pgd["averaged"], pgd["averaged_high"]) == (0.5, 2.0)
    assert pgd["upper_bound"] == "1 of 25 cells"


def test_every_form_has_as_many_columns_as_its_heading() -> None:
    assert {line.count("|") for line in markdown(rendered()).splitlines()[2:6]} == {8}
    assert r"\begin{tabular}{llrrrrr}" in latex(rendered())
    assert len(text(rendered()).splitlines()[5].split()) > 7


def test_the_closing_sentence_is_made_from_the_numbers() -> None:
    assert sentence(rendered()) == ""  # no column is chosen
    shown = replace(rendered(), table=replace(TABLE, shown=OURS.label))
    told = (
        "At ε = 8, Ours θ = 0.95 keeps 32.0, 1.0 and 0.5% under PGD: stopped at the first miss, "
        "with its full budget, and averaged over draws."
    )
    assert sentence(shown) == told
    assert told in markdown(shown)
    assert told in text(shown)
    assert sentence(replace(shown, averaged={})) == ""


def test_a_table_without_stopped_attacks_keeps_its_form() -> None:
    plain = replace(TABLE, lines=(LINES[0], LINES[2]))
    found = render(plain, [*seeds("clean", 0, 0.8), *seeds("pgd", 8, 0.0)], PUBLISHED)
    assert not found.compares
    assert markdown(found).splitlines()[2] == "| Attack | ε | Ours θ = 0.95 |"
    assert "averaged" not in records(found)[0]


def test_a_table_of_which_nothing_was_published_has_no_such_column() -> None:
    found = replace(rendered(), cells=tuple(map(unpublished, rendered().cells)))
    (*_, last), (*_, whole) = grid(found), grid(rendered())
    assert last == [*whole[:3], *whole[4:]] and whole[3] == "27.0"
    assert "| ε | as Foolbox 1.x ran it |" in markdown(found)


def unpublished(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    return tuple(replace(cell, published=None) for cell in cells)


def test_an_attack_without_a_stopped_twin_has_a_blank() -> None:
    more = replace(TABLE, lines=(*LINES, ("fgsm", 8.0)))
    found = render(more, seeds("fgsm", 8, 0.4), PUBLISHED)
    assert [line.stopped for line in lines(found)][-1] is None
    assert grid(found)[-1] == ["", "FGSM", "8", "—", "—", "40.0", "—"]


def test_the_picture_has_the_same_numbers_as_the_table(tmp_path: Path) -> None:
    found = accuracies(list(lines(rendered())))
    assert found["published"] == [(0.0, 94.5, 94.5, 94.5), (8.0, 27.0, 27.0, 27.0)]
    assert found["averaged over draws"] == [pytest.approx((8.0, 0.5, 0.0, 2.0))]
    stopped = found["as Foolbox 1.x ran it"]
    assert stopped[0][:2] == pytest.approx((0.0, 81.0))  # clean, of both
    assert stopped[1] == pytest.approx((8.0, 32.0, 32 - 8**0.5, 32 + 8**0.5))
    path = draw(rendered(), OURS.label, "pgd", tmp_path / "evidence.png")
    with Image.open(path) as image:
        assert (
            image.info["Title"] == "Ours θ = 0.95 under three attackers, and the published values"
        )

"""Numbers read off a surface, against hand computation."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.fake_panels import figure, panel

from defensive_tensorization.report.readings import cosine, crossing, table, within


@pytest.mark.parametrize("slope", [2.5, 4.0, 8.0])
def test_where_the_answer_changes(slope: float) -> None:
    """The margin is 1 - slope a on the axis, so it ends at 1 / slope, on the grid or off it."""
    assert crossing(panel(slope=slope)) == pytest.approx(1 / slope, rel=1e-6)


def test_it_may_change_nowhere_or_have_been_wrong() -> None:
    assert crossing(panel(slope=1.0)) is None
    wrong = panel()
    assert crossing(replace(wrong, margin=wrong.margin - 2)) == 0


def test_the_highest_loss_in_the_circle() -> None:
    """Of a loss that rises with 8 a + b: on a grid of 0.1 within 0.25 that is (0.2, 0.1)."""
    assert within(panel(), 0.25) == pytest.approx(np.log1p(np.exp(8 * 0.2 + 0.1 - 1)), rel=1e-6)
    assert within(panel(), 0.0) == pytest.approx(np.log1p(np.exp(-1)))


def test_cosine_is_numpy_s() -> None:
    one, other = panel(seed=1), panel(seed=2)
    a, b = one.directions[0].ravel().astype(float), other.directions[0].ravel().astype(float)
    assert cosine(one, other) == pytest.approx((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))
    assert cosine(one, one) == pytest.approx(1)


def test_a_table_of_both_versions() -> None:
    found = {
        ("θ=1", ""): panel(draws=0),
        ("θ=0.9", "draw"): panel(slope=5.0),
        ("θ=0.9", "mean"): panel(slope=2.5, draws=20, predictions={"frog": 19, "cat": 1}),
    }
    lines = {name: " | ".join(cells) for name, *cells in table(figure(found))[1:]}
    assert lines["loss at the image, one draw"] == "0.31 | 0.31"
    assert lines["loss at the image, mean"] == "0.31 | 0.31 ± 0.12"
    assert lines["answers at the image, by draw"] == "frog 1 of 1 | frog 19 of 20, cat 1 of 20"
    assert lines["the answer changes at, one draw"] == "31.9/255 | 51/255"
    assert lines["the answer changes at, mean"] == "31.9/255 | 102/255"
    assert lines["cosine of the two gradients"] == "— | 1.00"
    assert "cosine of the two gradients" not in [
        line[0] for line in table(figure(found, fixed=True))
    ]


def test_what_is_missing_is_a_dash_and_no_number() -> None:
    lines = table(figure({("θ=1", ""): panel(draws=0)}))
    assert {line[-1] for line in lines[1:]} == {"—"}

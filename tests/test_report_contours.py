"""The picture: levels, the true l-infinity ball, the same bytes, and what is missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fake_panels import panel
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from defensive_tensorization.report.contours import Panels, ball, contours, levels
from defensive_tensorization.results.landscape_panels import load, save


def drawn(panels: Panels, path: Path, **changes: Any) -> list[Path]:
    at = levels([each for _, each in panels if each])
    settings = {"title": "A title", "caption": "words " * 40, "radius": 32 / 255, "at": at}
    return contours(panels, path, **(settings | changes), axes=("x", "y"))


def with_losses(*values: float) -> Any:
    made = panel()
    made.loss.ravel()[:] = np.resize(values, made.loss.size)
    return made


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1e-6, 12.3), [0.01, 0.1, 1, 2, 5, 10]),
        ((0.3, 4.0), [1, 2]),
        ((0.0, 0.3), [0.0001, 0.001, 0.01, 0.1, 0.2]),
        ((0.0, 300.0), [0.1, 1, 2, 5, 10, 20, 50, 100, 200]),
        ((0.0, 0.0), []),
    ],
)
def test_levels(values: tuple[float, ...], expected: list[float]) -> None:
    assert levels([with_losses(*values)]) == expected


@pytest.mark.parametrize("losses", [(0.5, 1.5), (0.3, 0.9), (2.0, 2.0), (0.0, 0.0)], ids=str)
def test_few_levels_are_drawn(losses: tuple[float, float], tmp_path: Path) -> None:
    """At scale=smoke a loss may cross one level, or none."""
    of = with_losses(*losses)
    assert len(levels([of])) < 2
    png, pdf = drawn([("one", of)], tmp_path / "a.png")
    assert png.stat().st_size > 1000 and pdf.stat().st_size > 1000


def test_a_single_level_parts_two_shades(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr("matplotlib.pyplot.close", kept.append)
    drawn([("one", with_losses(0.5, 1.5))], tmp_path / "a.png")
    filled = kept[0].axes[1].collections[0]
    assert list(filled.levels) == [-0.5, 1, 2.5]
    assert [round(float(shade[0]), 2) for shade in filled.get_facecolor()] == [1.0, 0.5]


def test_levels_are_of_all_panels() -> None:
    assert levels([with_losses(0.0, 4.0), with_losses(1e-3, 12.0)])[-1] == 10
    assert levels([]) == []


@given(st.integers(0, 1000), st.floats(0.01, 1))
@settings(max_examples=25)
def test_the_ball_s_edge_is_at_that_distance(seed: int, radius: float) -> None:
    directions = np.random.default_rng(seed).normal(size=(2, 3, 4, 4))
    for a, b in ball(directions, radius, 17):
        assert np.abs(a * directions[0] + b * directions[1]).max() == pytest.approx(radius)


def test_the_ball_on_a_plane_of_signs_is_a_diamond() -> None:
    directions = np.array([[1.0, 1, -1, -1], [1, -1, 1, -1]])[:, None, None]
    edge = ball(directions, 0.125)
    np.testing.assert_allclose(np.abs(edge).sum(1), 0.125)


def test_the_same_panels_are_the_same_bytes(tmp_path: Path) -> None:
    """PNG and PDF alike, from memory and from the file."""
    (again,) = load(save(tmp_path / "a.npz", [panel()]))
    first = drawn([("one", panel())], tmp_path / "a.png")
    second = drawn([("one", again)], tmp_path / "b.png")
    assert [path.suffix for path in first] == [".png", ".pdf"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert first[1].read_bytes().startswith(b"%PDF")
    with Image.open(first[0]) as image:
        assert image.info["Title"] == "A title"


def test_what_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matplotlib import pyplot

    kept: list[Any] = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
    drawn([("one", panel()), ("two", None), ("three", panel(slope=2.0))], tmp_path / "a.png")
    drawn([("flat", with_losses(0.0))], tmp_path / "a.png")
    image, one, two, three = kept[0].axes
    assert image.get_title() == "test image 3:\nfrog"
    assert [axis.get_title() for axis in (one, two, three)] == ["one", "two", "three"]
    assert [text.get_text() for text in two.texts] == ["not computed yet"]
    circle, edge, _ = one.lines
    np.testing.assert_allclose(np.hypot(*circle.get_data()), 32 / 255)
    np.testing.assert_allclose(np.stack(edge.get_data(), 1), ball(panel().directions, 32 / 255))
    sets = [each for axis in (one, three) for each in axis.collections]
    shared = [tuple(each.levels) for each in sets if len(each.levels) > 1]
    assert len(shared) == 4 and len(set(shared)) == 1
    written = {text.get_text() for text in one.texts}
    assert written and written <= {f"{each:g}" for each in shared[0]}
    monkeypatch.undo()
    for figure in kept:
        pyplot.close(figure)


@pytest.mark.sharp
def test_it_reads_in_grey(tmp_path: Path) -> None:
    """The red circle and its halo stand out of the shades without their colour."""
    path = drawn([("one", panel())], tmp_path / "a.png")[0]
    without = drawn([("one", panel())], tmp_path / "b.png", radius=1e-9)[0]
    with Image.open(path) as image, Image.open(without) as other:
        with_circle, plain = (np.asarray(each.convert("L")).astype(int) for each in (image, other))
    assert (np.abs(with_circle - plain) > 60).sum() > 500

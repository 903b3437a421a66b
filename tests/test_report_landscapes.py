"""The page of a figure: its captions say what is drawn and what is missing."""

from pathlib import Path

import pytest
from helpers.fake_panels import figure, panel

from defensive_tensorization.report.landscapes import caption, draw, page

FOUND = {
    ("θ=1", ""): panel(draws=0, run_id="cifar10-resnet18-real-theta1-seed0-ef01", theta=1.0),
    ("θ=0.9", "draw"): panel(slope=4.0),
    ("θ=0.9", "mean"): panel(slope=3.0, draws=20),
}


def test_the_caption_tells_whose_gradient_and_which_draws() -> None:
    own, fixed = figure(FOUND), figure(FOUND, fixed=True)
    for part in ("around test image 3, frog (+)", "radius 32/255", "At cpu scale: short schedule"):
        assert part in caption(own, "draw")
    assert "loss's gradient at the image, of each θ." in caption(own, "draw")
    assert "that of θ=1, for all panels." in caption(fixed, "draw")
    assert "One draw of the random kernels, held for the gradient and" in caption(own, "draw")
    assert "One draw of the random kernels, held for every point" in caption(fixed, "draw")
    assert "Mean over 20 draws, each held for every point of a panel, as is the gr" in caption(
        own, "mean"
    )
    assert "the label's logit stops being the largest. One draw" in caption(own, "draw")
    assert "the label's logit stops being the largest, in the mean. Mean" in caption(own, "mean")
    assert "not computed yet" not in page(own)


def test_a_sign_is_said() -> None:
    found = {key: panel(direction="sign") for key in FOUND}
    assert "Across: the sign of the loss's gradient" in caption(figure(found), "draw")


def test_missing_panels_are_named() -> None:
    half = figure({key: FOUND[key] for key in [("θ=0.9", "draw")]})
    assert "not computed yet: θ=1." in caption(half, "draw")
    assert caption(half, "mean") == "Not computed yet."
    assert "- not computed yet: θ=1; θ=1, mean; θ=0.9, mean\n" in page(half)
    assert page(figure({})) == "# Figure 9: A title\n\n- not computed yet: θ=1, θ=0.9\n"


def test_the_page_says_where_it_comes_from() -> None:
    text = page(figure(FOUND))
    for part in (
        "![Figure 9: A title (one draw)](figure9.png)",
        "![Figure 9: A title (mean over draws)](figure9_mean.png)",
        "[figure9.npz](figure9.npz)",
        "- commit: 01234567\n",
        "- trained at commit: 89abcdef\n",
        f"- gradient of: cifar10-resnet18-real-theta1-seed0-ef01, weights {'v' * 16}\n",
        "- data: CIFAR-10, JPEG q75\n",
        "- grid: 11 x 11 points in [-0.5, 0.5], float32\n",
    ):
        assert part in text


def test_pictures_of_panels_that_are_gone_go_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda _, path, **__: path.touch())
    names = ["figure9.md", "figure9.png", "figure9.pdf", "figure9_mean.png", "figure9_mean.pdf"]
    assert [path.name for path in draw(figure(FOUND), tmp_path)] == names
    assert [path.name for path in draw(figure({}), tmp_path)] == ["figure9.md"]
    assert [path.name for path in tmp_path.iterdir()] == ["figure9.md"]

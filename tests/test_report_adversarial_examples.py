"""Images, their twins and the difference, pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defensive_tensorization.report.adversarial_examples import (
    GAP,
    LINE,
    SIDE,
    Example,
    difference,
    example_figure,
)


def example(channels: int, value: float, attacked: float) -> Example:
    image, other = (np.full((channels, 4, 4), each) for each in (value, attacked))
    return Example("cat", "cat", "dog", image, other)


@pytest.mark.parametrize(
    ("change", "expected"), [(-0.1, 0.0), (-0.05, 0.25), (0.0, 0.5), (0.1, 1.0), (0.2, 1.0)]
)
def test_a_difference_is_scaled_to_its_radius(change: float, expected: float) -> None:
    found = difference(example(3, 0.5, 0.5 + change), radius=0.1)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_example_is_a_column_of_three(channels: int, tmp_path: Path) -> None:
    made = [example(channels, 0.2, 0.4), example(channels, 0.6, 0.6)]
    path = example_figure(
        made, tmp_path / "deep" / "e.png", title="PGD", caption="a\nb", radius=0.4
    )
    with Image.open(path) as picture:
        assert picture.info["Title"] == "PGD"
        sheet = np.asarray(picture)
    middles = [
        [
            sheet[LINE + GAP + line * (SIDE + 2 * LINE + GAP) + 2 * LINE + SIDE // 2, x].tolist()
            for x in (GAP + SIDE // 2, 2 * GAP + SIDE + SIDE // 2)
        ]
        for line in range(3)
    ]
    assert middles == [[[51] * 3, [153] * 3], [[102] * 3, [153] * 3], [[191] * 3, [128] * 3]]

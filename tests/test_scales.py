"""What a scale decides of a training, by data set."""

import pytest

from defensive_tensorization.config import composed


@pytest.mark.parametrize(
    ("words", "images"),
    [
        ("dataset=cifar10 scale=smoke", 512),
        ("dataset=speech_commands model=soundnet5 train=speech_commands scale=smoke", 512),
        ("dataset=digits scale=smoke", None),
        ("dataset=synthetic_tones model=soundnet5 train=speech_commands scale=smoke", None),
        ("dataset=cifar10 scale=cpu", None),
        ("dataset=cifar10 scale=smoke train.images=100", 100),
    ],
)
def test_smoke_trains_on_few_examples_of_large_data(words: str, images: int | None) -> None:
    """All of digits are few: its quickstart stays as it was."""
    assert composed(words.split()).train.images == images

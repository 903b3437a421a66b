"""The figure of clips: what it shows of each view, and the words in it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from defensive_tensorization.report.waveforms import RATE, View, clip_figure


def view(heading: str, seed: int) -> View:
    draw = np.random.default_rng(seed)
    return View(heading, draw.uniform(-0.5, 0.5, RATE), draw.normal(size=(64, 101)))


def test_waveforms_over_spectrograms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matplotlib import pyplot

    kept = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    clips = [[view(f"clip {i} view {j}", 10 * i + j) for j in range(3)] for i in range(2)]
    path = clip_figure(clips, tmp_path / "deep" / "f.png", title="A title", caption="Of what")
    monkeypatch.undo()
    axes = kept[0].axes
    for i, views in enumerate(clips):
        waves, spectrograms = axes[6 * i : 6 * i + 3], axes[6 * i + 3 : 6 * i + 6]
        for wave, picture, shown in zip(waves, spectrograms, views, strict=True):
            assert wave.get_title() == shown.heading
            (line,) = wave.lines
            np.testing.assert_array_equal(line.get_ydata(), shown.samples)
            assert line.get_xdata()[-1] == pytest.approx(1 - 1 / RATE)
            np.testing.assert_array_equal(picture.images[0].get_array(), shown.spectrogram)
        every = np.stack([each.spectrogram for each in views])
        assert {a.images[0].get_clim() for a in spectrograms} == {(every.min(), every.max())}
        assert len({a.get_ylim() for a in waves}) == 1
    pyplot.close(kept[0])
    with Image.open(path) as image:
        assert (image.info["Title"], image.info["Description"]) == ("A title", "Of what")

"""Clips as a person can look at them: waveform and log-mel spectrogram, attacked or not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from defensive_tensorization.report.figures import saved
from defensive_tensorization.report.wrapping import wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATE = 16_000  # Hz

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class View:
    """A sound [L] in [-1, 1] with its log-mel spectrogram [bands, frames], and its heading."""

    heading: str
    samples: Array
    spectrogram: Array


def clip_figure(clips: Sequence[Sequence[View]], path: Path, *, title: str, caption: str) -> Path:
    """Writes a PNG: for each clip a row of waveforms over a row of spectrograms, its views across.

    Within a clip waveforms share their axes, and spectrograms their colours.
    """
    from defensive_tensorization.report.agg import pyplot

    across = max(map(len, clips))
    figure, grid = pyplot.subplots(
        2 * len(clips),
        across,
        figsize=(4 * across, 3.4 * len(clips)),
        squeeze=False,
        layout="constrained",
    )
    for i, views in enumerate(clips):
        loudest = max(float(np.abs(view.samples).max()) for view in views)
        low = min(float(view.spectrogram.min()) for view in views)
        high = max(float(view.spectrogram.max()) for view in views)
        for j, view in enumerate(views):
            _wave(grid[2 * i][j], view, loudest)
            shown = _spectrogram(grid[2 * i + 1][j], view, low, high)
        figure.colorbar(shown, ax=list(grid[2 * i + 1]), label="log power", fraction=0.02)
        grid[2 * i][0].set_ylabel("amplitude")
        grid[2 * i + 1][0].set_ylabel("mel band")
    for axis in grid[-1]:
        axis.set_xlabel("seconds")
    figure.suptitle(title)
    under = wrapped(caption, 0.98 * 4 * across, 10)  # 12 inches are printed on 7
    return saved(figure, path, title, caption, under, size=10, dpi=110)


def _wave(axis: "Axes", view: View, loudest: float) -> None:
    axis.plot(np.arange(len(view.samples)) / RATE, view.samples, linewidth=0.4, color="#0072B2")
    axis.set_ylim(-1.05 * loudest, 1.05 * loudest)
    axis.set_xlim(0, len(view.samples) / RATE)
    axis.set_title(view.heading, fontsize=9)
    axis.grid(alpha=0.3)


def _spectrogram(axis: "Axes", view: View, low: float, high: float) -> Any:
    seconds = len(view.samples) / RATE
    return axis.imshow(
        view.spectrogram,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, len(view.spectrogram)),
        vmin=low,
        vmax=high,
        cmap="magma",
    )

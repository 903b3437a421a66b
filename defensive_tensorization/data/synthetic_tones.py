"""Synthetic tones: generated clips in the form of Speech Commands, for trials without a download.

Not speech, and no result of ours. A clip is a harmonic tone of a random pitch under two formants,
which the class decides, at a random place and loudness in noise; `silence` is the noise alone.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from defensive_tensorization.data.audio import Samples, stored
from defensive_tensorization.data.cache import Content, cached
from defensive_tensorization.data.clips import RATE
from defensive_tensorization.data.task import Split, Task

FORMANTS = (  # Hz, of eleven classes; the twelfth is silence
    *((300, 900), (300, 1500), (300, 2300), (450, 1100), (450, 1900), (600, 1300)),
    *((600, 2100), (750, 1100), (750, 1700), (750, 2500), (900, 1400)),
)
CLASSES = (*(f"tone {first}/{second} Hz" for first, second in FORMANTS), "silence")
PER_CLASS = {"train": 40, "validation": 10, "test": 10}
BANDWIDTH = 120.0  # Hz, of a formant
STD = 0.044  # of the training split


def load(*, name: str, unit: float, cache: str | Path | None = None) -> Task:
    """480 training, 120 validation and 120 test clips, int16 [N, 1, 16000], the same everywhere."""
    content, digest = cached(_made, folder=cache, name=name, source=f"seed 0 {PER_CLASS}")
    return Task(
        name=name,
        title="synthetic tones (generated, no speech), 720 clips of 12 classes",
        classes=content.classes,
        **content.splits(),
        bounds=(-1.0, 1.0),
        unit=unit,
        mean=(0.0,),
        std=(STD,),
        flip=False,
        digest=digest,
    )


def _made() -> Content:
    splits = {}
    for i, (split, count) in enumerate(PER_CLASS.items()):
        draw = np.random.default_rng(i)
        clips = [clip(label, draw) for label in range(len(CLASSES)) for _ in range(count)]
        inputs = torch.from_numpy(np.stack(clips))[:, None]
        splits[split] = Split(inputs, torch.arange(len(CLASSES)).repeat_interleave(count))
    return Content(**splits, classes=CLASSES, origin="")


def clip(label: int, draw: np.random.Generator) -> NDArray[np.int16]:
    """One clip of the class, int16 [16000]."""
    sound: Samples = 0.004 * draw.uniform(0.2, 1.0) * draw.standard_normal(RATE, np.float32)
    if label < len(FORMANTS):
        start, length = (int(RATE * draw.uniform(*of)) for of in ((0.05, 0.4), (0.3, 0.55)))
        place = np.linspace(0, 1, length, dtype=np.float32)
        pitch = draw.uniform(90, 240) * (1 + 0.1 * draw.uniform(-1, 1) * place)  # Hz, gliding
        phase = np.cumsum(2 * np.pi * pitch / RATE).astype(np.float32)
        formants = np.array(FORMANTS[label]) * draw.normal(1, 0.03)
        harmonics = np.arange(1, int(3500 / pitch.max()), dtype=np.float32)[:, None]  # [H, 1]
        strength = (1 / (1 + ((harmonics * pitch.mean() - formants) / BANDWIDTH) ** 2)).sum(1)
        tone = strength.astype(np.float32) @ np.sin(harmonics * phase)
        tone *= draw.uniform(0.1, 0.5) / np.abs(tone).max()
        sound[start : start + length] += np.sin(np.pi * place) ** 2 * tone
    return stored(sound, RATE)

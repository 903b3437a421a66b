"""The generated clips: their form, their reproducibility, and formants where the class says."""

import numpy as np
import pytest
import torch

from defensive_tensorization.data import decode, synthetic_tones
from defensive_tensorization.data.clips import RATE
from defensive_tensorization.data.synthetic_tones import CLASSES, FORMANTS, STD, clip, load


def test_tones_are_clips_of_equal_classes_and_loudness() -> None:
    task = load(name="synthetic_tones", unit=1)
    assert task.validation is not None and task.kind == "clips" and task.bounds == (-1.0, 1.0)
    for split, count in ((task.train, 40), (task.validation, 10), (task.test, 10)):
        assert split.inputs.dtype == torch.int16 and split.inputs.shape[1:] == (1, RATE)
        assert torch.bincount(split.labels).tolist() == [count] * 12
    assert abs(float(decode(task.train.inputs).std()) - STD) < 1e-3
    assert "synthetic" in task.title and "no speech" in task.title


def test_the_same_everywhere_and_no_two_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic_tones, "PER_CLASS", {"train": 2, "validation": 1, "test": 1})
    once, again = (load(name="s", unit=1) for _ in range(2))
    assert once.digest == again.digest
    assert once.validation is not None
    both = torch.cat([once.train.inputs, once.validation.inputs, once.test.inputs])
    assert len(both.flatten(1).unique(dim=0)) == 48


@pytest.mark.parametrize("label", range(len(FORMANTS)))
def test_the_energy_is_at_the_formants(label: int) -> None:
    draw = np.random.default_rng(label)
    power = sum(np.abs(np.fft.rfft(clip(label, draw).astype(float))) ** 2 for _ in range(6))
    frequency = np.fft.rfftfreq(RATE, 1 / RATE)
    near = np.zeros(len(frequency), bool)
    for formant in FORMANTS[label]:
        near |= np.abs(frequency - formant) < 250
    assert power[near].sum() > 0.8 * power.sum()


def test_silence_is_quiet() -> None:
    draw = np.random.default_rng(0)
    loudness = [np.abs(clip(label, draw)).max() for label in range(12)]
    assert loudness[-1] < 0.1 * min(loudness[:-1]) and CLASSES[-1] == "silence"

"""The log-mel network: its spectrogram against numpy, its size against SoundNet5."""

import math

import numpy as np
import torch
from torch import nn

from defensive_tensorization import sketching
from defensive_tensorization.models import LogMel, SoundNet5
from defensive_tensorization.models.logmel import BANDS, FLOOR, HOP, WINDOW, LogMelSpectrogram
from defensive_tensorization.tucker import TuckerConv2d, conv_factory

GIVEN = {"width": 16, "classes": 12, "mean": (0.0,), "std": (0.1,)}


def mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


def by_hand(x: np.ndarray) -> np.ndarray:
    """Hann windows of 400 in frames of 512 around every 160th sample, power, triangles in mel."""
    n = np.arange(WINDOW)
    window = np.pad(0.5 - 0.5 * np.cos(2 * np.pi * n / WINDOW), 56)
    padded = np.pad(x, 256, mode="reflect")
    frames = np.stack([padded[i : i + 512] * window for i in range(0, len(x) + 1, HOP)])
    power = np.abs(np.fft.rfft(frames)) ** 2  # [frames, 257]
    edges = np.linspace(mel(20), mel(8000), BANDS + 2)
    hertz = 700 * (10 ** (edges / 2595) - 1)
    frequency = np.linspace(0, 8000, 257)
    bands = [
        np.minimum((frequency - low) / (top - low), (high - frequency) / (high - top)).clip(0)
        for low, top, high in zip(hertz, hertz[1:], hertz[2:], strict=False)
    ]
    return np.log(power @ np.stack(bands).T + FLOOR).T


def test_spectrogram_by_hand() -> None:
    x = torch.rand(2, 1, 16_000, generator=torch.Generator().manual_seed(0)) - 0.5
    found = LogMelSpectrogram()(x)
    assert found.shape == (2, 1, BANDS, 101)
    for mine, clip in zip(found[:, 0], x[:, 0], strict=True):
        expected = by_hand(clip.double().numpy())
        np.testing.assert_allclose(mine.numpy(), expected, atol=1e-3)


def test_spectrogram_stays_in_float32_under_autocast() -> None:
    x, spectrogram = torch.rand(1, 1, 16_000) - 0.5, LogMelSpectrogram()
    with torch.autocast("cpu", torch.bfloat16):
        rough = spectrogram(x)
    assert torch.equal(rough, spectrogram(x))


def test_silence_has_a_finite_gradient() -> None:
    x = torch.zeros(1, 1, 16_000, requires_grad=True)
    LogMel(**GIVEN).eval()(x).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()


def test_of_like_size() -> None:
    log_mel, end_to_end = (
        sum(p.numel() for p in net(**GIVEN).parameters()) for net in (LogMel, SoundNet5)
    )
    assert abs(log_mel / end_to_end - 1) < 0.03


def test_every_layer_comes_from_a_factory() -> None:
    norms: list[int] = []

    def norm(channels: int) -> nn.Module:
        norms.append(channels)
        return nn.GroupNorm(1, channels)

    model = LogMel(**GIVEN, conv=conv_factory(theta=0.9), norm=norm)
    convs = [m for m in model.modules() if isinstance(m, TuckerConv2d)]
    assert len(convs) == len(sketching.sketches(model)) == 5
    assert not [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    assert norms == [1, 16, 32, 64, 128, 192]
    assert model(torch.rand(2, 1, 16_000) - 0.5).shape == (2, 12)

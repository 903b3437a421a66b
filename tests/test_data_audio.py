"""A sound file against what was written: soundfile's samples, scipy's resampling, and errors."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.signal import resample_poly

from defensive_tensorization.data.audio import read_sound, stored
from defensive_tensorization.errors import UsageError


def encoded(samples: NDArray[Any], rate: int = 16_000, form: str = "FLAC", **more: str) -> bytes:
    file = BytesIO()
    soundfile.write(file, samples, rate, format=form, **more)
    return file.getvalue()


def levels(n: int = 500, channels: int = 1, seed: int = 0) -> NDArray[np.int16]:
    made = np.random.default_rng(seed).integers(-32768, 32768, (n, channels), dtype=np.int16)
    return made[:, 0] if channels == 1 else made


@pytest.mark.parametrize("form", ["FLAC", "WAV", "WAVEX"])
def test_sixteen_bits_come_back_as_they_were(form: str) -> None:
    written = levels()
    written[:2] = -32768, 32767
    read = read_sound(encoded(written, form=form), "x", 16_000)
    np.testing.assert_array_equal(stored(read, len(written)), written)


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8"])
def test_other_sample_types_keep_their_amplitude(subtype: str) -> None:
    amplitudes = np.linspace(-0.9, 0.9, 300)
    read = read_sound(encoded(amplitudes, form="WAV", subtype=subtype), "x", 16_000)
    np.testing.assert_allclose(read, amplitudes, atol=2 / 256 if subtype == "PCM_U8" else 1e-6)


def test_channels_are_averaged() -> None:
    written = levels(channels=3)
    read = read_sound(encoded(written), "x", 16_000)
    np.testing.assert_allclose(read, written.mean(1) / 32768, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_another_rate_is_resampled(rate: int) -> None:
    """A tone is the same tone; away from the ends, where the filters of the two differ."""
    time = np.arange(rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    read = read_sound(encoded(tone, rate, "WAV", subtype="FLOAT"), "x", 16_000)
    assert len(read) == 16_000
    inner = slice(500, -500)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(read[inner], expected[inner], atol=2e-3)
    np.testing.assert_allclose(read[inner], resample_poly(tone, 160, rate // 100)[inner], atol=2e-3)


@given(st.integers(1, 50), st.integers(1, 50))
@settings(max_examples=30)
def test_stored_is_cut_or_padded_at_the_end(n: int, length: int) -> None:
    written = levels(n)
    expected = np.concatenate([written, np.zeros(50, np.int16)])[:length]
    np.testing.assert_array_equal(stored(written.astype(np.float32) / 32768, length), expected)


def test_stored_clips() -> None:
    assert stored(np.array([-1.5, 1.5, 1.0], np.float32), 3).tolist() == [-32768, 32767, 32767]


SOUND = encoded(levels(4000))
WAV = encoded(levels(4000), form="WAV")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"RIFF", "it is cut short"),
        (WAV[:-1000], "it is cut short"),
        (SOUND[: len(SOUND) // 2], "flac decoder lost sync"),
        (SOUND[:3000] + bytes([SOUND[3000] ^ 16]) + SOUND[3001:], "flac decoder"),
        (b"not a sound at all" * 9, "Format not recognised"),
        (encoded(levels(0), form="WAV"), "it holds no samples"),
        (encoded(levels(), form="AIFF"), "it is AIFF"),
        (encoded(np.array([0.0, np.nan]), form="WAV", subtype="FLOAT"), "that are no numbers"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",  # of bytes: some hold the time
)  # fmt: skip
def test_what_cannot_be_used_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_sound(data, "tree: yes/a.flac", 16_000)
    text = str(caught.value)
    assert text.startswith("tree: yes/a.flac cannot be decoded as WAV or FLAC (")
    assert reason in text and "\n" not in text
    assert text.endswith("): put an intact copy in its place")

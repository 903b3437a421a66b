"""One recording: decoded, mixed to one channel, at one rate, and stored as int16."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defensive_tensorization.data.wav import completed
from defensive_tensorization.errors import UsageError

_BLOCK = 1 << 16  # samples of a channel
SOUNDS = (".wav", ".flac")
Samples = NDArray[np.float32]


def read_sound(data: bytes, where: str, rate: int) -> Samples:
    """The samples [n] of a WAV or FLAC file in [-1, 1], as mono at `rate` Hz.

    Channels are averaged, another rate is resampled (windowed sinc). `where` names the file in the
    UsageError for one that is damaged, cut short, empty, or holds what is no number.
    """
    import soundfile

    class _Forward(soundfile.SoundFile):  # type: ignore[misc]
        """Never sought in: libsndfile cannot, in a FLAC file that does not know its length."""

        def seekable(self) -> bool:
            return False

    try:
        if not data:
            raise ValueError("it is empty")
        with _Forward(BytesIO(completed(data))) as file:
            if file.format not in ("WAV", "WAVEX", "FLAC"):
                raise ValueError(f"it is {file.format}")
            found = file.samplerate
            channels = np.concatenate([*_blocks(file)])  # [n, channels]
        if not len(channels):
            raise ValueError("it holds no samples")
        if not np.isfinite(channels).all():
            raise ValueError("it holds samples that are no numbers")
    except (soundfile.SoundFileError, ValueError) as error:
        raise UsageError(
            f"{where} cannot be decoded as WAV or FLAC ({_reason(error)}): "
            "put an intact copy in its place"
        ) from error
    mono: Samples = channels.mean(axis=1)
    return mono if found == rate else _resampled(mono, found, rate)


def _blocks(file: Any) -> Iterator[Samples]:
    """[n, channels] at a time, to the end: a FLAC file from a pipe does not say where that is."""
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)) == _BLOCK:
        yield block
    yield block


def stored(samples: Samples, length: int) -> NDArray[np.int16]:
    """[n] in [-1, 1] as int16 [length]: cut at the end, or followed by zeros."""
    levels = np.rint(samples[:length] * 32768).clip(-32768, 32767).astype(np.int16)
    return np.pad(levels, (0, length - len(levels)))


def _resampled(samples: Samples, found: int, rate: int) -> Samples:
    import torch
    from torchaudio.functional import resample

    made: Samples = resample(torch.from_numpy(samples), found, rate).numpy()
    return made


def _reason(error: Exception) -> str:
    text = str(error).split(": ", 1)[-1] if "BytesIO" in str(error) else str(error)
    return text.rstrip(".")

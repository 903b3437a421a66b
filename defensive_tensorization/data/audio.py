"""One recording: decoded, mixed to one channel, at one rate, and stored as int16."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from defensive_tensorization.errors import UsageError

SOUNDS = (".wav", ".flac")
Samples = NDArray[np.float32]


def read_sound(data: bytes, where: str, rate: int) -> Samples:
    """The samples [n] of a WAV or FLAC file in [-1, 1], as mono at `rate` Hz.

    Channels are averaged, another rate is resampled (windowed sinc). `where` names the file in the
    UsageError for one that is damaged, cut short, empty, or holds what is no number.
    """
    import soundfile

    try:
        if not data:
            raise ValueError("it is empty")
        if data[:4] == b"RIFF" and len(data) < int.from_bytes(data[4:8], "little") + 8:
            raise ValueError("it is cut short")  # libsndfile would take what there is
        with soundfile.SoundFile(BytesIO(data)) as file:
            if file.format not in ("WAV", "WAVEX", "FLAC"):
                raise ValueError(f"it is {file.format}")
            found = file.samplerate
            channels = file.read(dtype="float32", always_2d=True)  # [n, channels]
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

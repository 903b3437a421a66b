"""WAV and FLAC files whose header does not know their length, and files that are cut short."""

import struct
import wave
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
import soundfile
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from defensive_tensorization.data.audio import read_sound
from defensive_tensorization.errors import UsageError

PLACEHOLDERS = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x7FFFF000)
SAMPLES = np.random.default_rng(0).integers(-30000, 30000, 4000).astype(np.int16)


def encoded(form: str, n: int = 4000, chunk: bytes = b"") -> bytearray:
    file = BytesIO()
    soundfile.write(file, SAMPLES[:n], 16_000, format=form, subtype="PCM_16")
    made = bytearray(file.getvalue())
    if chunk:
        at = made.find(b"data")
        made[at:at] = chunk
        struct.pack_into("<I", made, 4, len(made) - 8)
    return made


def header(made: bytearray, whole: int | None, data: int | None) -> bytes:
    if whole is not None:
        struct.pack_into("<I", made, 4, whole)
    if data is not None:
        struct.pack_into("<I", made, made.find(b"data") + 4, data)
    return bytes(made)


@settings(max_examples=40)
@given(
    st.sampled_from((None, *PLACEHOLDERS)),
    st.sampled_from(PLACEHOLDERS),
    st.integers(1, 4000),
    st.sampled_from([b"", b"LIST\x03\0\0\0abc\0", b"fact\x04\0\0\0\0\0\0\0"]),
)
def test_a_whole_file_is_read(whole: int | None, data: int, n: int, chunk: bytes) -> None:
    assume(whole is not None or data)  # where the whole is known, 0 samples are 0 samples
    made = header(encoded("WAV", n, chunk), whole, data)
    found = read_sound(made, "a.wav", 16_000)
    np.testing.assert_array_equal(found, SAMPLES[:n].astype(np.float32) / 32768)


def test_what_python_s_own_module_leaves_in_a_pipe() -> None:
    class Pipe(BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError("a pipe")

        def seek(self, *_: int) -> int:
            raise OSError("a pipe")

        def close(self) -> None: ...

    pipe = Pipe()
    with suppress(OSError), wave.open(pipe, "wb") as file:  # it wants to go back to the header
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframesraw(SAMPLES.tobytes())
    found = read_sound(pipe.getvalue(), "a.wav", 16_000)
    np.testing.assert_array_equal(found, SAMPLES.astype(np.float32) / 32768)


def test_flac_of_unknown_length() -> None:
    made = encoded("FLAC")
    made[21] &= 0xF0  # STREAMINFO: 36 bits of samples, then 128 of MD5
    made[22:42] = bytes(20)
    found = read_sound(bytes(made), "a.flac", 16_000)
    np.testing.assert_array_equal(found, SAMPLES.astype(np.float32) / 32768)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bytes(encoded("WAV")[:-10]), "it is cut short"),
        (header(encoded("WAV")[:-10], 0xFFFFFFFF, None), "it is cut short"),
        (header(encoded("WAV")[:-10], 0, None), "it is cut short"),
        (header(encoded("WAV"), None, 9000), "it is cut short"),
        (header(encoded("WAV")[:30], 0xFFFFFFFF, None), "it is cut short"),
        (header(encoded("WAV", 0), None, 0), "it holds no samples"),
        (bytes(encoded("WAV", 0)) + b"", "it holds no samples"),
    ],
)
def test_files_that_are_cut_short(data: bytes, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read_sound(data, "a.wav", 16_000)

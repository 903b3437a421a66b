"""How long a WAV file says that it is, and what it is where it cannot know.

A writer that cannot seek (a pipe, a recorder that was stopped) leaves a placeholder for both
lengths in the header: 0, or a number next to the largest of 31 or 32 bits.
"""

import struct

_LARGEST = 0x7FFFF000  # SoX, arecord: near 2^31; ffmpeg: 2^32 - 1


def completed(data: bytes) -> bytes:
    """The file with its true lengths in place of placeholders; other files as they are.

    Raises:
        ValueError: if the file is shorter than it says.
    """
    if data[:4] != b"RIFF":
        return data
    whole = _size(data, 4)
    open_end = _placeholder(whole, len(data) - 8)
    if not open_end and whole + 8 > len(data):
        raise ValueError("it is cut short")
    at = 12
    while at + 8 <= len(data):
        size, start = _size(data, at + 4), at + 8
        if data[at : at + 4] == b"data":
            return _of_samples(data, start, size, whole, open_end)
        at = start + size + size % 2
    if open_end:
        raise ValueError("it is cut short")
    return data


def _of_samples(data: bytes, start: int, size: int, whole: int, open_end: bool) -> bytes:
    left = len(data) - start
    last = open_end or whole + 8 <= start + size  # nothing else may follow the samples
    if not (_placeholder(size, left) and (size or last)):
        if size > left:
            raise ValueError("it is cut short")
        return data
    made = bytearray(data)
    struct.pack_into("<I", made, 4, len(data) - 8)
    struct.pack_into("<I", made, start - 4, left)
    return bytes(made)


def _placeholder(size: int, left: int) -> bool:
    return left > 0 and (size == 0 or (size >= _LARGEST and size > left))


def _size(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")

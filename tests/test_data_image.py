"""One image file: refused when damaged or of another kind, and its JPEG quality."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from defensive_tensorization.data.image import describe, read_image
from defensive_tensorization.errors import UsageError

SIZE = (6, 8)  # height, width


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def jpeg(seed: int = 0, quality: int = 75, **options: object) -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


@given(quality=st.integers(1, 100), subsampling=st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_quality_is_read_from_the_tables(quality: int, subsampling: int) -> None:
    _, encoding = read_image(jpeg(0, quality, subsampling=subsampling), "x.jpg", SIZE)
    assert describe([encoding, encoding]) == f"JPEG q{quality}"


def encoding(data: bytes) -> tuple[tuple[int, ...], ...]:
    return read_image(data, "x.jpg", SIZE)[1]


def test_words_for_mixtures_and_unknown_tables() -> None:
    png = io.BytesIO()
    picture(0).save(png, "PNG")
    q75, q90, unknown, lossless = (
        *(encoding(jpeg(quality=quality)) for quality in (75, 90)),
        encoding(jpeg(qtables=[[7] * 64, [9] * 64])),
        encoding(png.getvalue()),
    )
    assert describe([lossless, lossless]) == "PNG folder"
    assert describe([unknown]) == "JPEG of unknown quality"
    assert describe([q90, q75, q90]) == "mixed JPEG q75 and JPEG q90"
    assert describe([lossless, q75]) == "mixed JPEG q75 and PNG"
    assert describe([lossless, q75, q90, unknown]) == "mixed encodings (4 kinds)"


@given(st.integers(0, 5), st.integers(min_value=3))
@settings(max_examples=50, deadline=None)
def test_cut_jpeg_is_refused(seed: int, lost: int) -> None:
    data = jpeg(seed)
    with pytest.raises(UsageError, match=r"^x\.jpg cannot be decoded"):
        read_image(data[: -(3 + lost % (len(data) - 3))], "x.jpg", SIZE)


def test_other_formats_are_refused() -> None:
    file = io.BytesIO()
    picture(0).save(file, "BMP")
    with pytest.raises(UsageError, match="not a readable PNG or JPEG"):
        read_image(file.getvalue(), "x.png", SIZE)

"""One image file: its pixels, and how it was compressed."""

from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from defensive_tensorization.errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

Encoding = tuple[tuple[int, ...], ...]  # a JPEG's quantization tables; empty for a PNG


def read_image(
    data: bytes, where: str, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], Encoding]:
    """Pixels [3, height, width] and encoding of a PNG or JPEG file, which must be RGB of `size`.

    `where` names the file in the UsageError for any other file, and for a damaged one.
    """
    from PIL import Image

    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
            found = (image.height, image.width), image.mode
            encoding = _encoding(image)
            if image.format == "PNG":
                image.verify()  # loading alone does not check every checksum
        if found == (size, "RGB"):
            with Image.open(BytesIO(data)) as image:
                image.load()  # fails where np.asarray would go on with a partial image
                pixels = np.asarray(image)
    except Exception as error:  # Pillow raises many types for damaged files
        reason = "not a readable PNG or JPEG" if "cannot identify" in str(error) else error
        raise UsageError(
            f"{where} cannot be decoded ({reason}): put an intact copy in its place"
        ) from error
    if found != (size, "RGB"):
        (height, width), mode = found
        raise UsageError(
            f"{where} is {width}x{height} {mode}, the data set needs {size[1]}x{size[0]} RGB: "
            "convert all its images, or name another folder"
        )
    return pixels.transpose(2, 0, 1), encoding


def describe(encodings: Iterable[Encoding]) -> str:
    """What a caption says of these: "JPEG q75", "PNG folder", "mixed JPEG q75 and PNG"."""
    qualities = _qualities()
    kinds = sorted(
        {
            f"JPEG q{qualities[tables]}" if tables in qualities else "JPEG of unknown quality"
            for tables in encodings
            if tables
        }
        | {"PNG" for tables in encodings if not tables}
    )
    if kinds == ["PNG"]:
        return "PNG folder"
    if len(kinds) > 3:
        return f"mixed encodings ({len(kinds)} kinds)"
    return kinds[0] if len(kinds) == 1 else "mixed " + " and ".join(kinds)


def _qualities() -> dict[Encoding, int]:
    """The quantization tables that libjpeg, through Pillow, takes for each quality."""
    from PIL import Image

    tables: dict[Encoding, int] = {}
    for quality in range(1, 101):
        file = BytesIO()
        Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
        with Image.open(file) as image:
            tables[_encoding(image)] = quality
    return tables


def _encoding(image: "Image.Image") -> Encoding:
    tables: dict[int, list[int]] = getattr(image, "quantization", {})  # a JPEG's alone
    return tuple(tuple(table) for table in tables.values())

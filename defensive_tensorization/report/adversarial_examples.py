"""Images beside their adversarial examples and the difference, with what a network says of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

Array = NDArray[np.floating[Any]]
SIDE, GAP, LINE = 96, 8, 14  # of an image, between two, of a line of text, in pixels


@dataclass(frozen=True)
class Example:
    """An image and its attacked form, both [C, H, W] in [0, 1], and the classes by name."""

    truth: str
    predicted: str
    attacked_as: str
    image: Array
    attacked: Array


def difference(example: Example, radius: float) -> Array:
    """What was added, [C, H, W]: 0 stands for -radius, 1/2 for nothing, 1 for radius."""
    return np.clip(((example.attacked - example.image) / radius + 1) / 2, 0, 1)


def example_figure(
    examples: Sequence[Example], path: Path, *, title: str, caption: str, radius: float
) -> Path:
    """Writes a PNG, one column an image: clean, adversarial, the difference within ±radius.

    Drawn pixel by pixel, since it is made at every evaluation and matplotlib takes seconds.
    """
    step, row = SIDE + GAP, SIDE + 2 * LINE + GAP
    size = (max(4, len(examples)) * step + GAP, 3 * row + 4 * LINE)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(str(_font()), 10)
    pen.text((GAP, GAP // 2), title, "black", font)
    for column, example in enumerate(examples):
        views = (
            (example.image, f"{example.truth}\nseen as {example.predicted}"),
            (example.attacked, f"attacked\nseen as {example.attacked_as}"),
            (difference(example, radius), "difference\n-ε to ε"),
        )
        for line, (view, heading) in enumerate(views):
            x, y = GAP + column * step, LINE + GAP + line * row
            pen.multiline_text((x, y), heading, "black", font, spacing=1)
            sheet.paste(_tile(view), (x, y + 2 * LINE))
    for line, text in enumerate(caption.split("\n")):
        pen.text((GAP, size[1] - (2 - line) * LINE - GAP // 2), text, "black", font)
    about = PngImagePlugin.PngInfo()
    about.add_itxt("Title", title)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, pnginfo=about)
    return path


def _tile(image: Array) -> Image.Image:
    """[C, H, W] in [0, 1], of one channel or three, at SIDE by SIDE."""
    bytes_ = (255 * image).round().astype(np.uint8).transpose(1, 2, 0)
    shown = Image.fromarray(bytes_.repeat(3, 2) if bytes_.shape[2] == 1 else bytes_)
    return shown.resize((SIDE, SIDE), Image.Resampling.NEAREST)


def _font() -> Path:
    """The one that matplotlib ships: it has Greek letters."""
    spec = find_spec("matplotlib")
    assert spec and spec.origin
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"

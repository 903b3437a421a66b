"""How a convolution moves over its input."""

from typing import NamedTuple


class Geometry(NamedTuple):
    """Of a convolution, one number for each spatial mode; padding adds zeros."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

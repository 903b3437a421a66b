"""Who draws random kernels and when: the public control of every draw.

By default draws are live, in training and in evaluation; the context managers change that for one
model: `frozen`, `disabled`, `per_sample`, `parts`, `drawn`, `record`, `replay`, `repeat`.
"""

from .control import (
    Ledger,
    disabled,
    drawn,
    frozen,
    is_live,
    is_parted,
    parts,
    per_sample,
    record,
    repeat,
    replay,
    rewind,
    seed,
    sketches,
    stream,
    streams,
)

__all__ = [
    "Ledger",
    "disabled",
    "drawn",
    "frozen",
    "is_live",
    "is_parted",
    "parts",
    "per_sample",
    "record",
    "repeat",
    "replay",
    "rewind",
    "seed",
    "sketches",
    "stream",
    "streams",
]

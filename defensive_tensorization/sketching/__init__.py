"""Who draws random kernels and when: the public control of every draw.

By default draws are live, in training and in evaluation; the context managers change that for one
model: `frozen`, `disabled`, `per_sample`, `draws_per_batch`, `drawn`, `record`, `replay`, `repeat`.

A deep copy of a model draws next what the original draws next; `seed(copy, n)` parts them.
"""

from .control import (
    Ledger,
    disabled,
    drawn,
    draws_per_batch,
    frozen,
    is_live,
    is_random,
    per_sample,
    record,
    repeat,
    replay,
    rewind,
    rng_states,
    seed,
    sketches,
    stream,
)

__all__ = [
    "Ledger",
    "disabled",
    "drawn",
    "draws_per_batch",
    "frozen",
    "is_live",
    "is_random",
    "per_sample",
    "record",
    "repeat",
    "replay",
    "rewind",
    "rng_states",
    "seed",
    "sketches",
    "stream",
]

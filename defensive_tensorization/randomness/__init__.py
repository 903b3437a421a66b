"""Whatever a model's answers depend on beside its input: found, seeded, and put back.

found = detect(model, x, beside)  # which sources change the answers, and whether seeds fix them
with seeded(model, 0, "scoring"): # common random numbers; the caller's state is as before
    ...
"""

from .detect import AT_EXAMPLES, Randomness, detect, images_meet, varies
from .near import near, signs
from .sources import Source, kept, seeded, sources

__all__ = [
    "AT_EXAMPLES",
    "Randomness",
    "Source",
    "detect",
    "images_meet",
    "kept",
    "near",
    "seeded",
    "signs",
    "sources",
    "varies",
]

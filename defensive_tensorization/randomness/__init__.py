"""Whatever a model's answers depend on beside its input: found, seeded, and put back.

found = detect(model, x)          # which sources change the answers, and whether seeds fix them
with seeded(model, 0, "scoring"): # common random numbers; the caller's state is as before
    ...
"""

from .detect import Randomness, detect
from .sources import Source, kept, seeded, sources

__all__ = ["Randomness", "Source", "detect", "kept", "seeded", "sources"]

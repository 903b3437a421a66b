"""Put new layers in the place of old ones in anybody's model; nothing is lost in silence.

choose     which layers to replace, and which stay as they are and why
audit      refuse, by name, a layer with something on it that a replacement would lose
replace    put the new layers in, with everything that hung on the old ones
"""

from .audit import audit, refuse_wrappers
from .carry import bequeath
from .choose import Choice, Left, Selector, choose
from .loading import decompose_on_loading
from .outside import warn_of_outsiders
from .swap import replace

__all__ = [
    "Choice",
    "Left",
    "Selector",
    "audit",
    "bequeath",
    "choose",
    "decompose_on_loading",
    "refuse_wrappers",
    "replace",
    "warn_of_outsiders",
]

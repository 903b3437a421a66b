"""Attacks. Random choices of an attack come from torch's global generator; draws never do.

The factories here take amplitudes (`amplitudes`); those of configurations, in the data's unit, are
in `in_units`.
"""

from .amplitudes import apgd, autoattack, bim, eot_pgd, fgsm, pgd, square
from .attack import OUTCOMES, Attack, Ended, step_count
from .batching import batching_note
from .step_checkpoints import group_by_steps
from .threat_model import THREAT_MODELS, attacker, defender

__all__ = [
    "OUTCOMES",
    "THREAT_MODELS",
    "Attack",
    "Ended",
    "apgd",
    "attacker",
    "autoattack",
    "batching_note",
    "bim",
    "defender",
    "eot_pgd",
    "fgsm",
    "group_by_steps",
    "pgd",
    "square",
    "step_count",
]

"""Attacks. Random choices of an attack come from torch's global generator; draws never do."""

from .attack import Attack, step_count
from .auto_pgd import apgd
from .eot import eot_pgd
from .expectation import manner
from .knowledge import KNOWLEDGE, attacker, defender
from .library import bim, fgsm, pgd
from .square_windows import square
from .walks import walks

__all__ = [
    "KNOWLEDGE",
    "Attack",
    "apgd",
    "attacker",
    "bim",
    "defender",
    "eot_pgd",
    "fgsm",
    "manner",
    "pgd",
    "square",
    "step_count",
    "walks",
]

"""Attacks. Random choices of an attack come from torch's global generator; draws never do."""

from .attack import OUTCOMES, Attack, Ended, step_count
from .auto_pgd import apgd
from .eot import eot_pgd
from .expectation import manner
from .foolbox1 import foolbox1_bim, foolbox1_fgsm, foolbox1_pgd
from .knowledge import KNOWLEDGE, attacker, defender
from .library import bim, fgsm, pgd
from .square_windows import square
from .walks import walks

__all__ = [
    "KNOWLEDGE",
    "OUTCOMES",
    "Attack",
    "Ended",
    "apgd",
    "attacker",
    "bim",
    "defender",
    "eot_pgd",
    "fgsm",
    "foolbox1_bim",
    "foolbox1_fgsm",
    "foolbox1_pgd",
    "manner",
    "pgd",
    "square",
    "step_count",
    "walks",
]

"""Attacks. Random choices of an attack come from torch's global generator; draws never do."""

from .attack import OUTCOMES, Attack, Ended, step_count
from .auto_pgd import apgd
from .eot import eot_pgd
from .expectation import batching_note
from .foolbox1 import foolbox1_bim, foolbox1_fgsm, foolbox1_pgd
from .library import bim, fgsm, pgd
from .square_windows import square
from .step_checkpoints import group_by_steps
from .threat_model import THREAT_MODELS, attacker, defender

__all__ = [
    "OUTCOMES",
    "THREAT_MODELS",
    "Attack",
    "Ended",
    "apgd",
    "attacker",
    "batching_note",
    "bim",
    "defender",
    "eot_pgd",
    "fgsm",
    "foolbox1_bim",
    "foolbox1_fgsm",
    "foolbox1_pgd",
    "group_by_steps",
    "pgd",
    "square",
    "step_count",
]

"""Attacks. Random choices of an attack come from torch's global generator; draws never do."""

from .attack import Attack, step_count
from .knowledge import KNOWLEDGE, attacker, defender
from .library import bim, fgsm, pgd

__all__ = ["KNOWLEDGE", "Attack", "attacker", "bim", "defender", "fgsm", "pgd", "step_count"]

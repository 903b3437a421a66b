"""Attacks. Random choices of an attack come from torch's global generator; draws never do."""

from .attack import Attack, step_count
from .library import bim, fgsm, pgd

__all__ = ["Attack", "bim", "fgsm", "pgd", "step_count"]

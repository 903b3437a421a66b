"""The attacks as configurations name them: epsilon and step sizes in the data's unit.

`attacks` itself has them in amplitudes.
"""

from .auto_pgd import apgd
from .autoattack import autoattack
from .eot import eot_pgd
from .foolbox1 import foolbox1_bim, foolbox1_fgsm, foolbox1_pgd
from .library import bim, fgsm, pgd
from .square_windows import square

__all__ = [
    "apgd",
    "autoattack",
    "bim",
    "eot_pgd",
    "fgsm",
    "foolbox1_bim",
    "foolbox1_fgsm",
    "foolbox1_pgd",
    "pgd",
    "square",
]

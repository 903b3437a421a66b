"""Layers whose weights live in a randomized Tucker latent space (Section 3 of the paper)."""

from .conv import TuckerConv1d, TuckerConv2d, TuckerConv3d
from .convert import tensorize
from .factory import conv_factory
from .linear import TuckerLinear
from .paths import reconstruct
from .plain import detensorize
from .transposed import TuckerConvTranspose1d, TuckerConvTranspose2d, TuckerConvTranspose3d
from .weight import TuckerWeight

__all__ = [
    "TuckerConv1d",
    "TuckerConv2d",
    "TuckerConv3d",
    "TuckerConvTranspose1d",
    "TuckerConvTranspose2d",
    "TuckerConvTranspose3d",
    "TuckerLinear",
    "TuckerWeight",
    "conv_factory",
    "detensorize",
    "reconstruct",
    "tensorize",
]

"""Layers whose weights live in a randomized Tucker latent space (Section 3 of the paper)."""

from .conv import TuckerConv2d, conv_factory
from .weight import TuckerWeight, reconstruct

__all__ = ["TuckerConv2d", "TuckerWeight", "conv_factory", "reconstruct"]

"""Defensive tensorization: convolutions whose weights live in a randomized Tucker latent space.

import defensive_tensorization as dt

net = dt.tensorize(torchvision.models.resnet50(), theta=0.9)   # in place; the same at theta = 1
with dt.sketching.frozen(net, seed=0): ...                     # one draw, replayed
with dt.sketching.disabled(net): ...                           # theta = 1
net = dt.detensorize(net)                                      # plain layers of theta = 1
net = dt.binarize(net)                                         # XNOR layers in their place
net = dt.load("cifar10-resnet18-w16/theta-0.9")                # a released network, or one at a URL
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import sketching
    from .released import load
    from .tucker import detensorize, tensorize
    from .xnor import binarize

__version__ = "0.1.0"  # pyproject.toml reads it here

__all__ = ["__version__", "binarize", "detensorize", "load", "sketching", "tensorize"]


def __getattr__(name: str) -> Any:
    """Loaded when first used: torch is heavy, and `--help` should not wait for it."""
    if name in ("tensorize", "detensorize"):
        return getattr(import_module(".tucker", __name__), name)
    if name == "binarize":
        return import_module(".xnor", __name__).binarize
    if name == "load":
        return import_module(".released", __name__).load
    if name == "sketching":
        return import_module(".sketching", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

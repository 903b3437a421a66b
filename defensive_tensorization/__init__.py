"""Defensive tensorization: convolutions whose weights live in a randomized Tucker latent space.

import defensive_tensorization as dt

net = dt.tensorize(torchvision.models.resnet50(), theta=0.9)   # in place; the same at theta = 1
with dt.sketching.frozen(net, seed=0): ...                     # one draw, replayed
with dt.sketching.disabled(net): ...                           # theta = 1
net = dt.detensorize(net)                                      # plain layers of theta = 1
net = dt.binarize(net)                                         # XNOR layers in their place
net = dt.load("cifar10-resnet18-w16/theta-0.9")                # a released network, or one at a URL
net = dt.recalibrate(net, reference)                           # BatchNorm under random kernels

attack = dt.attacks.eot_pgd(epsilon=8/255, steps=50, samples=10)
result = dt.evaluate(model, data, attacks=[attack])            # anybody's model, random or not
report = dt.audit(model, data, epsilon=8/255, claim=0.45)      # can the number be believed?
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import attacks, sketching
    from .auditing.api import audit
    from .auditing.evaluation import evaluate
    from .models.recalibrate import recalibrate
    from .released.load import load
    from .tucker import detensorize, tensorize
    from .xnor import binarize

__version__ = "0.1.0"  # pyproject.toml reads it here

__all__ = [
    "__version__",
    "attacks",
    "audit",
    "binarize",
    "detensorize",
    "evaluate",
    "load",
    "recalibrate",
    "sketching",
    "tensorize",
]

_WHERE = {
    "audit": ".auditing.api",
    "binarize": ".xnor",
    "detensorize": ".tucker",
    "evaluate": ".auditing.evaluation",
    "load": ".released.load",
    "recalibrate": ".models.recalibrate",
    "tensorize": ".tucker",
}


def __getattr__(name: str) -> Any:
    """Loaded when first used: torch is heavy, and `--help` should not wait for it."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name], __name__), name)
    if name in ("attacks", "sketching"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Whether a configuration is random: its kernels, its defence, its evaluation."""

from .build import named
from .network_schema import DefenceConfig
from .outside import is_outside
from .schema import Config


def has_random_kernels(defence: DefenceConfig) -> bool:
    """Whether the convolutions draw their kernels: a factorization with theta < 1."""
    return defence.conv is not None and defence.conv.theta < 1


def has_randomness(defence: DefenceConfig) -> bool:
    """Whether the deployed network draws anything: kernels, pruning or dropout."""
    drops = defence.last is not None and defence.last.rate > 0
    prunes = defence.prune is not None and not is_outside(defence.prune)
    return has_random_kernels(defence) or prunes or drops or draws_outside(defence)


def draws_outside(defence: DefenceConfig) -> bool:
    """Whether a part from outside the package may draw: unless it says `random = False`."""
    slots = (defence.conv, defence.relu, defence.input, defence.prune, defence.last)
    outside = [slot for slot in slots if slot is not None and is_outside(slot)]
    return any(getattr(named(slot._target_), "random", True) for slot in outside)


def is_random(config: Config) -> bool:
    """Whether two forwards of the evaluated network can differ; not where eval.sketch=false."""
    return config.eval.sketch and has_randomness(config.defence)

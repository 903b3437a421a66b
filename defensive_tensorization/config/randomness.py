"""Whether a configuration is random: its kernels, its defence, its evaluation."""

from .schema import Config, DefenceConfig


def has_random_kernels(defence: DefenceConfig) -> bool:
    """Whether the convolutions draw their kernels: a factorization with theta < 1."""
    return defence.conv is not None and defence.conv.theta < 1


def has_randomness(defence: DefenceConfig) -> bool:
    """Whether the deployed network draws anything: kernels, pruning or dropout."""
    drops = defence.last is not None and defence.last.rate > 0
    return has_random_kernels(defence) or defence.prune is not None or drops


def is_random(config: Config) -> bool:
    """Whether two forwards of the evaluated network can differ; not where eval.sketch=false."""
    return config.eval.sketch and has_randomness(config.defence)

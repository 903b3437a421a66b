"""How long a training is, in what steps, and how its learning rate runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """lr rises over `warmup`, then falls by `gamma` at each milestone; both as shares of it.

    decay "linear": it falls in a straight line to zero at the end instead.
    """

    epochs: int
    batch_size: int
    milestones: tuple[float, ...]
    gamma: float
    warmup: float = 0.0
    decay: str = "steps"
    crop: int = 0
    autocast: str = "float32"
    images: int | None = None
    compile: str | None = None

    def factor(self, epoch: float) -> float:
        """What the starting learning rate is multiplied by, at an epoch that may be fractional."""
        share = epoch / self.epochs
        rise = min(1.0, share / self.warmup) if self.warmup else 1.0
        if self.decay == "linear":
            return rise * (1.0 if rise < 1 else (1.0 - share) / (1.0 - self.warmup))
        return rise * self.gamma ** sum(share >= m for m in self.milestones)

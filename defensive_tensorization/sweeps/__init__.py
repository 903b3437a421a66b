"""A sweep of runs: its jobs in rounds, on any of Hydra's launchers, with one progress line.

Hydra takes a sweeper or launcher only by a name under `hydra_plugins`. `register` gives it ours
under such names, so no folder of that name is needed.
"""

from .side_by_side import words as side_by_side

__all__ = ["register", "side_by_side"]

PREFIX = "hydra_plugins.defensive_tensorization"


def register() -> None:
    """Make the sweeper and the launchers of configs/hydra known to Hydra, before it starts."""
    from hydra.core.plugins import Plugins

    from .pool import Pool
    from .submitted import Local, Slurm
    from .sweeper import BasesFirst

    known = Plugins.instance().class_name_to_class
    known |= {f"{PREFIX}.{each.__name__}": each for each in (BasesFirst, Pool, Local, Slurm)}

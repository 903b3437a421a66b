"""Made-up panels of Figure 2's methods, under the hashes that its runs would give them."""

from functools import cache

from defensive_tensorization import config as cfg
from defensive_tensorization.config import Config, composed
from defensive_tensorization.experiment.loss_landscape import panel_config_hash
from defensive_tensorization.results.landscape_panels import Panel
from helpers.fake_panels import panel

WORDS = ("experiment=figure2", "scale=smoke", "logger=none")


@cache
def cell(method: str = "") -> Config:
    return composed([*WORDS, *([f"method={method}"] if method else [])])


def panels_of(method: str, slope: float, **changes: object) -> list[Panel]:
    """The panels that a run of Figure 2's method would leave."""
    config = cell(method)
    how = panel_config_hash(config, cell("ours_1"))
    kinds = [0] if method == "ours_1" else [1, 20]
    known = {"recipe": cfg.train_config_hash(config), "protocol": how, "theta": config.theta}
    return [panel(slope=slope, **{**known, "draws": draws, **changes}) for draws in kinds]

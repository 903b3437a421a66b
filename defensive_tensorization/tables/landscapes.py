"""From panels to a figure of landscapes: which panels belong to it, and where they go.

A pure function of whatever panels exist: no network, no data.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import config as cfg
from ..config import Config
from ..config.landscape import OWN
from ..report.landscapes import draw
from ..report.readings import Figure
from ..results import landscape_panels
from ..results.landscape_panels import Panel


def collected(
    config: Config,
    cells: Mapping[str, Config],
    words: Sequence[str],
    kept: Path,
    data: str | None = None,
) -> dict[tuple[str, str], Panel]:
    """What there is of a figure's panels, by label and version, in the figure's order.

    cells  the configuration of each place, by method; words  what composed them; kept  the
    committed file. Where a panel is both in runs/ and there, the former stands.
    """
    from ..experiment.loss_landscape import panel_config_hash

    plane = cfg.plane_of(config, words)
    wanted = {
        (cfg.train_config_hash(cell), panel_config_hash(cell, plane)): config.experiment.columns[m]
        for m, cell in cells.items()
    }
    own = _of(wanted, landscape_panels.read(Path(config.paths.runs) / "landscapes"))
    if data is None:  # this machine's own panels stand before committed ones from other data
        digests = {panel.about.data_digest for panel in own}
        data = digests.pop() if len(digests) == 1 else None
    there = {key(panel): panel for panel in (*_of(wanted, landscape_panels.load(kept)), *own)}
    chosen = landscape_panels.chosen(list(there.values()), data=data)
    found = {(wanted[_which(panel)], panel.version): panel for panel in chosen}
    labels = list(wanted.values())
    order = sorted(found, key=lambda key: (labels.index(key[0]), key[1]))
    return {key: found[key] for key in order}


def places(config: Config, cells: Mapping[str, Config]) -> dict[tuple[str, str], int]:
    """The figure's panels by label and version, with the draws of each.

    A network that draws nothing has one for both versions.
    """
    assert config.landscape is not None
    versions = {True: {"draw": 1, "mean": config.landscape.draws}, False: {"": 0}}
    return {
        (config.experiment.columns[m], version): draws
        for m, cell in cells.items()
        for version, draws in versions[cfg.is_random(cell)].items()
    }


def lacking(
    config: Config, cells: Mapping[str, Config], words: Sequence[str], kept: Path
) -> tuple[int, list[int]]:
    """How many panels the figure has, and the draws of each that is not there yet."""
    found, wanted = collected(config, cells, words, kept), places(config, cells)
    return len(wanted), [draws for place, draws in wanted.items() if place not in found]


def render(
    config: Config,
    cells: Mapping[str, Config],
    words: Sequence[str],
    folder: Path,
    data: str | None,
) -> list[Path]:
    """Collect the figure's panels into <folder>/<figure>.npz and draw them beside it."""
    of, kept = config.landscape, folder / f"{config.experiment.name}.npz"
    assert of is not None
    found = collected(config, cells, words, kept, data)
    figure = Figure(
        config.experiment.name,
        config.experiment.title,
        tuple(config.experiment.columns[m] for m in cells),
        of.directions != OWN,
        of.circle,
        config.dataset.unit,
        found,
    )
    kept.unlink(missing_ok=True)
    data_file = [landscape_panels.save(kept, figure.found.values())] if found else []
    return [*data_file, *draw(figure, folder)]


def _which(panel: Panel) -> tuple[str, str]:
    return panel.about.recipe, panel.about.protocol


def key(panel: Panel) -> tuple[str, str, str, str]:
    """Panels of one key stand for one another."""
    return *_which(panel), panel.about.data_digest, panel.version


def _of(wanted: Mapping[tuple[str, str], str], found: Sequence[Panel]) -> list[Panel]:
    return [panel for panel in found if _which(panel) in wanted]

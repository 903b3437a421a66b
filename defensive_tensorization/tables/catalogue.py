"""Every table and figure that the configuration knows."""

from collections.abc import Iterator, Sequence

from .. import config as cfg
from ..config import Config


def catalogue(
    overrides: Sequence[str] = (), names: Sequence[str] | None = None
) -> Iterator[Config]:
    """The experiments, or those named, whose results lie together; a trial has its own folder.

    The paper's tables come first, then its figures.
    """
    known = sorted(cfg.experiments(), key=lambda e: (e[:5] != "table", e[:6] != "figure", e))
    words = [word for word in overrides if not word.startswith("paths.results=")]
    moved = words != list(overrides)
    folders = {
        cfg.composed(each).paths.results for each in ([words, overrides] if moved else [words])
    }
    for name in known if names is None else names:
        own = cfg.composed([f"experiment={name}", *words])
        if own.paths.results in folders:
            yield cfg.composed([f"experiment={name}", *overrides]) if moved else own


def filled_by(experiment: str) -> list[str]:
    """The tables to render again when this experiment has new rows, in this order.

    An honest table reads the rows of its surface and of AutoAttack; other tables read those of an
    honest one.
    """
    reads = {
        name: [of.get(key) for key in ("surface", "outside", "averaged")]
        for name, of in cfg.experiments().items()
        if name != experiment
    }
    direct = [name for name, others in reads.items() if experiment in others]
    return [*dict.fromkeys([*direct, *(further for name in direct for further in filled_by(name))])]

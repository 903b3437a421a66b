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
    found = (path.stem for path in (cfg.CONFIGS / "experiment").glob("*.yaml"))
    known = sorted(found, key=lambda e: (e[:5] != "table", e[:6] != "figure", e))
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
    """The other tables and figures that this experiment's rows fill, in the order to render them.

    Honest tables are held against a surface and may have others' attacks beside their own; the
    last column of a table is of an honest one.
    """
    lines = [f"  {key}: {experiment}\n" for key in ("surface", "outside", "averaged")]
    own = {
        path.stem: path.read_text(encoding="utf-8")
        for path in sorted((cfg.CONFIGS / "experiment").glob("*.yaml"))
        if path.stem != experiment
    }
    direct = [name for name, text in own.items() if any(line in text for line in lines)]
    return [*dict.fromkeys([*direct, *(further for name in direct for further in filled_by(name))])]

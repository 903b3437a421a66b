"""From rows to the table of readings: which rows are held against which published cells."""

from statistics import fmean
from typing import Any

from .. import config as cfg
from ..report import fit
from ..report.fit_networks import CLEAN_AT_1, Left, Network
from ..report.published import published
from ..report.selection import Column
from ..results.row import Row, given
from .table_spec import Layout


def held(layout: Layout) -> list[fit.Held]:
    """Every column, against Table 1, or Table 3 where it is attacked at theta = 1."""
    found = []
    fresh: dict[tuple[str, str], tuple[str, Column]] = {}
    for method, column in zip(layout.cells, layout.columns, strict=True):
        if not _omniscient(layout, method):
            fresh[_network(layout, method)] = (column.label, column)
    for method, column in zip(layout.cells, layout.columns, strict=True):
        name = "table3" if _omniscient(layout, method) else "table1"
        printed = published(cfg.PAPER, name)
        clean = published(cfg.PAPER, "table1")["clean", 0.0, column.paper]
        cells = {
            (attack, epsilon): value
            for (attack, epsilon, paper), value in printed.items()
            if paper == column.paper and attack != "clean"
        }
        label, own = fresh[_network(layout, method)]
        found.append(fit.Held(label, column, own, name, fit.relative_to_clean(cells, clean)))
    return found


def networks(of: list[fit.Held], rows: list[Row]) -> list[Network]:
    """Each network once, whoever attacks it; at theta = 1 where Table 3's attacker begins."""
    made: dict[str, dict[tuple[str, float], Left]] = {}
    kinds: dict[str, dict[str, Any]] = {}
    for each in of:
        left = made.setdefault(each.handling, {})
        mine = [row for row in rows if each.column.takes(row)]
        if mine:
            kinds.setdefault(each.handling, {}).update(
                width=mine[0].width, batchnorm=mine[0].batchnorm, **_agreement(mine)
            )
        if each.table == "table3":
            share = fit.missed_unattacked(mine)
            if share is not None:
                left[CLEAN_AT_1, 0.0] = Left(1 - share, None, mine[0].n, _seeds(mine))
            continue
        for at in dict.fromkeys((row.attack, row.epsilon) for row in mine):
            cell = [row for row in mine if (row.attack, row.epsilon) == at]
            found = given(cell, "found")[1]
            left[at] = Left(fit.accuracy(cell), found, cell[0].n, _seeds(cell))
    return [Network(name, left, **kinds.get(name, {})) for name, left in made.items()]


def _agreement(rows: list[Row]) -> dict[str, Any]:
    """How far the gradients of draws agree, where it was measured."""
    told = [row for row in rows if row.gradient_cosine is not None]
    if not told:
        return {}
    cosine = fmean(row.gradient_cosine or 0.0 for row in told)
    return {"cosine": round(cosine, 3), "compared": told[0].gradient_images}


def _seeds(rows: list[Row]) -> int:
    return len({row.eval_seed for row in rows})


def _omniscient(layout: Layout, method: str) -> bool:
    return any(a.knowledge == "omniscient" for a in layout.cells[method].attack.values())


def _network(layout: Layout, method: str) -> tuple[str, str]:
    """A network and its handling of BatchNorm, whoever attacks it."""
    cell = layout.cells[method]
    return cfg.train_config_hash(cell), cfg.batchnorm(cell)

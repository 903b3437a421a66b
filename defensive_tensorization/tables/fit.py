"""From rows to the table of readings: which rows are held against which published cells."""

from .. import config as cfg
from ..report import fit
from ..report.published import published
from ..report.selection import Column
from ..results.row import Row
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


def handlings(of: list[fit.Held], rows: list[Row]) -> dict[str, tuple[float | None, float | None]]:
    """By name: clean accuracy as evaluated, and at theta = 1, where Table 3 is attacked."""
    made: dict[str, tuple[float | None, float | None]] = {}
    for each in of:
        mine = [row for row in rows if each.column.takes(row)]
        own = [r.clean_accuracy for r in rows if each.clean.takes(r) and r.attack == "clean"]
        missed = fit.missed_unattacked(mine) if each.table == "table3" else None
        before = made.get(each.handling, (None, None))
        made[each.handling] = (
            sum(own) / len(own) if own else None,
            before[1] if missed is None else 1 - missed,
        )
    return made


def _omniscient(layout: Layout, method: str) -> bool:
    return any(a.knowledge == "omniscient" for a in layout.cells[method].attack.values())


def _network(layout: Layout, method: str) -> tuple[str, str]:
    """A network and its handling of BatchNorm, whoever attacks it."""
    cell = layout.cells[method]
    return cfg.train_config_hash(cell), cfg.batchnorm(cell)

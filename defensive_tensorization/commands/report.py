"""Everything of one scale as one page: which tables there could be, and what there is of them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import config as cfg
from ..errors import in_one_line
from ..report.origins import Run
from ..report.page import Entry, page
from ..results import store
from ..tables.catalogue import catalogue
from ..tables.render import averaged, read_data
from ..tables.table_spec import folder_of, laid


def publish(
    overrides: Sequence[str] = (), names: Sequence[str] | None = None, *, data: str | None = None
) -> Path:
    """Writes results/<scale>/report.html from what lies beside it: rows, figures, other pages."""
    config = cfg.composed(overrides)
    folder = folder_of(config)
    rows = store.read([folder / "rows"])
    entries: list[Entry] = []
    identities: dict[str, dict[str, Any]] = {}
    for own in catalogue(overrides, names):
        e = own.experiment
        command = f"make reproduce-{e.name.replace('_', '-')} SCALE={config.scale.name}"
        if own.landscape:
            entries.append(Entry(e.name, e.title, command))
            continue
        layout = laid(e.name, overrides)
        mine = [row for row in rows if layout.takes(row)]
        filled, chosen = None, layout.own_data() if data is None else data
        if e.form == "table":
            filled = layout.filled(mine, chosen, averaged(layout, chosen))
        counted = layout.counted(mine, chosen)
        entries.append(Entry(e.name, e.title, command, filled, tuple(mine), counted))
        identities |= {
            cfg.train_config_hash(cell): cfg.identity(cell) for cell in layout.cells.values()
        }
    found = []
    for file in sorted((folder / "rows").glob("*.jsonl")):
        if held := store.read([file]):
            found.append(Run(file.stem, held, identities.get(held[0].recipe)))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    audits = _audits(Path(config.paths.runs) / "audits", config.scale.name)
    speed = Path(config.paths.results) / "bench" / "history.csv"
    text = page(folder, config.scale.name, entries, found, audits, speed)
    path.write_text(text, encoding="utf-8")
    return path


def _audits(folder: Path, scale: str) -> list[Path]:
    """The pages of this scale's audits, those of the panel's known models apart."""
    made = {path: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    own = (path for path, of in made.items() if of["scale"] == scale and not of.get("member"))
    return [path.with_suffix(".md") for path in own]


def main() -> None:
    """python scripts/report.py [key=value ...] [--data TITLE]"""
    with in_one_line("paths.results"):
        words, data = read_data(sys.argv[1:])
        print(f"wrote {publish(words, data=data)}")

"""The audits of the models of which the truth is known, and the table of their verdicts."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from .. import config as cfg
from ..auditing.panel import CLAIM, MEMBERS, Member
from ..errors import UsageError, did_you_mean
from ..report import audit_panel
from ..system import provenance
from ..tables.table_spec import folder_of
from .audit import audit, spoken

log = logging.getLogger(__name__)


def panel(words: Sequence[str]) -> list[Path]:
    """Every member's audit, and the table of verdicts beside what is known, after each of them.

    words: overrides, and members=NAME,NAME for some alone; the table names the others as not run.
    """
    overrides = [word for word in words if not word.startswith("members=")]
    chosen = _members([word for word in words if word.startswith("members=")])
    named = any(word.startswith("audit.level=") for word in overrides)
    claim = [] if named else [f"audit.level={CLAIM}"]
    configs = {m: cfg.composed([*overrides, *claim, *m.overrides]) for m in MEMBERS}
    folder = folder_of(next(iter(configs.values())))
    files: dict[Member, Path] = {}
    made: list[Path] = []
    for member in chosen:
        command = provenance.command(program="scripts/audit_panel.py")
        files[member] = audit(configs[member], command, member)
        result = json.loads(files[member].read_text())
        log.info("%s: %s", member.label, result["verdict"]["words"])
        made = audit_panel.write(
            [m.known for m in MEMBERS], [files.get(m) for m in MEMBERS], folder
        )
    return made


def _members(words: Sequence[str]) -> list[Member]:
    """Those that members=NAME,NAME names, in the panel's order; all without it."""
    names = {name for word in words for name in word.partition("=")[2].split(",") if name}
    known = [member.name for member in MEMBERS]
    if unknown := sorted(names - set(known)):
        raise UsageError(
            f"members={unknown[0]} is none of the panel: "
            + did_you_mean(unknown[0], known, "docs/audit.md describes all")
        )
    return [member for member in MEMBERS if member.name in names or not names]


def main() -> None:
    """python scripts/audit_panel.py [members=NAME,NAME] [key=value ...]"""
    with spoken() as words:
        page = next(path for path in panel(words) if path.name == "audit_panel.md")
        print(page.read_text())

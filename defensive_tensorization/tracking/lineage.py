"""What a run was made from and what it made: W&B's artifacts, equal where their contents are.

Offline nothing can be looked up by name. So whoever uses an artifact describes it as its maker
did: W&B knows the two by their digest, and joins dataset -> checkpoint -> rows -> table.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Item:
    """One artifact: its files, or where it has none a card with its facts, which tell it apart.

    large: kept as a reference to the file by its digest, unless everything is to be uploaded.
    """

    name: str
    kind: str  # dataset, checkpoint, rows, table
    facts: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    large: bool = False


def artifact(item: Item, upload: bool) -> Any:
    """The item as a `wandb.Artifact`; a large file is never copied under runs/."""
    import wandb

    made = wandb.Artifact(item.name, item.kind, metadata=dict(item.facts))
    for file in item.files:
        if not item.large:
            made.add_file(str(file))
        elif upload:
            made.add_file(str(file), policy="immutable", skip_cache=True)
        else:
            made.add_reference(file.resolve().as_uri(), name=file.name)
    if not item.files:
        with made.new_file("card.json", mode="w") as card:
            json.dump(dict(item.facts), card, sort_keys=True, indent=1)
    return made

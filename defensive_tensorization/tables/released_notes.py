"""What a caption says of released networks: which rows are of weights that anybody can load."""

from collections.abc import Sequence

from ..config import Config
from ..report import tables
from ..report.caption import Facts, by_label
from ..results.row import Row


def notes(config: Config, columns: Sequence[tables.Column], rows: Sequence[Row]) -> Facts:
    """(topic, statement) of the columns' networks by their weights; none where none is released."""
    from ..experiment.released_networks import manifest, titled

    listed = manifest(config)
    entries = {e.weights: e for e in listed.entries.values()} if listed else {}

    def named(row: Row) -> str:
        entry = entries.get(row.weights)
        if entry is None:
            return "not released"
        other = entry.data_digest != row.data_digest
        return f"{entry.name}, trained on {entry.data}" if other else entry.name

    told = [(column.label, named(row)) for column in columns for row in rows if column.takes(row)]
    if listed is None or all(name == "not released" for _, name in told):
        return ()
    return (("networks", f"released in {titled(listed.source)}: {by_label(dict.fromkeys(told))}"),)

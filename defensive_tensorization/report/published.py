"""The numbers printed in the paper, read from csv files, in percent."""

import csv
from pathlib import Path

from defensive_tensorization.errors import UsageError

Key = tuple[str, float, str]
OWN = "this paper"


def published(directory: Path, name: str, **only: str) -> dict[Key, float]:
    """(attack, epsilon, method) -> accuracy in percent, from `<directory>/<name>.csv`.

    `only` selects on the file's further columns (`precision="binary"`). It must leave one value
    a key. Clean accuracy is the attack "clean" at epsilon 0.
    """
    path = directory / f"{name}.csv"
    if not path.is_file():
        raise UsageError(
            f"{path}: no published numbers there; restore the file from the repository"
        )
    values: dict[Key, float] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line, record in enumerate(csv.DictReader(file), 2):
            try:
                if any(record[column] != wanted for column, wanted in only.items()):
                    continue
                key = (record["attack"], float(record["epsilon"]), record["method"])
                value = float(record["value"])
            except (KeyError, ValueError, TypeError) as error:
                raise UsageError(
                    f"{path}:{line}: not a published value ({error}); restore the file"
                ) from None
            if key in values:
                raise UsageError(f"{path}:{line}: {key} occurs twice; select with a further column")
            values[key] = value
    return values


def elsewhere(directory: Path, name: str) -> dict[Key, str]:
    """(attack, epsilon, method) -> the source, of the values that the paper copied from another."""
    with (directory / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return {
            (record["attack"], float(record["epsilon"]), record["method"]): record["source"]
            for record in csv.DictReader(file)
            if (record.get("source") or OWN) != OWN
        }

"""Golden files: one JSON object a line, of which the first value is the key."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read(path: Path) -> dict[str, Any]:
    """By key, in the order of the file."""
    if not path.exists():
        return {}
    pairs = (json.loads(line) for line in path.read_text().splitlines())
    return {pair["of"]: pair["is"] for pair in pairs}


def write(path: Path, values: Mapping[str, Any]) -> None:
    lines = (json.dumps({"of": k, "is": v}, ensure_ascii=False) for k, v in values.items())
    path.write_text("".join(f"{line}\n" for line in lines))


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A line for each key that came, went or has another value."""
    told = []
    for key in [*before, *(key for key in after if key not in before)]:
        if key not in after:
            told.append(f"gone     {key}")
        elif key not in before:
            told.append(f"new      {key}: {json.dumps(after[key], ensure_ascii=False)}")
        elif before[key] != after[key]:
            told.append(f"changed  {key}: {_difference(before[key], after[key])}")
    return told


def _difference(before: Any, after: Any) -> str:
    """Of two dictionaries, their differing fields alone."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [n for n in {**before, **after} if before.get(n) != after.get(n)]
        before, after = ({n: each.get(n) for n in names} for each in (before, after))
    return f"{json.dumps(before, ensure_ascii=False)} -> {json.dumps(after, ensure_ascii=False)}"

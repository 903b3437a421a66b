"""What W&B wrote to disk about a run, read back by its own reader."""

import json
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.util import get_core_path


@dataclass
class Logged:
    """job, config; the points of its curves; its final values; artifacts as (direction, record)."""

    job: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    axis: str = ""
    points: list[dict[str, Any]] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)
    artifacts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    exit_code: int | None = None

    def digests(self, direction: str, kind: str) -> dict[str, str]:
        """Name -> digest of its artifacts of one kind that it `used` or `made`."""
        return {
            record["name"]: record["digest"]
            for way, record in self.artifacts
            if way == direction and record["type"] == kind
        }

    @property
    def names(self) -> set[str]:
        """Everything that a panel can draw of it."""
        return {key.split(".")[0] for point in [*self.points, self.final] for key in point}


LONGEST_S = 60


def logged(directory: Path | str) -> Logged:
    """What the log of a finished run holds: W&B's own process may write its end after `finish`."""
    until = time.monotonic() + LONGEST_S
    while (found := _logged(directory)).exit_code is None and time.monotonic() < until:
        time.sleep(0.1)
    return found


def _logged(directory: Path | str) -> Logged:
    (file,) = Path(directory).glob("run-*.wandb")
    words = ["leet", "inspect", "--no-observability", "--json", "--run-file", str(file)]
    command = [get_core_path(), *words, str(file.parents[1])]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    found = Logged()
    for record in map(json.loads, lines):
        body = record.get(record["type"])
        if record["type"] == "run":
            found.job, found.config = body["job_type"], body["config"]["update"]
        elif record["type"] == "metric" and "glob_name" in body:
            found.axis = body["step_metric"]
        elif record["type"] == "history":
            found.points.append({k: v for k, v in body["item"].items() if not k.startswith("_")})
        elif record["type"] == "summary":
            found.final |= {k: v for k, v in body["update"].items() if not k.startswith("_")}
        elif record["type"] == "artifact" and not body["name"].startswith("run-"):  # W&B's tables
            found.artifacts.append(("used" if body.get("use_after_commit") else "made", body))
        elif record["type"] == "exit":
            found.exit_code = body.get("exit_code", 0)
    return found

"""What an audit found, for a person and for a program."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..randomness import Randomness
from ..report import audits
from ..results.scores import Interval
from .check import Check


@dataclass(frozen=True)
class AuditReport:
    """`result`: everything as JSON has it; print it for the verdict and what failed."""

    result: dict[str, Any]

    @property
    def verdict(self) -> str:
        """masked, not robust ..., inconclusive: run ..., robust ..., or no claim ..."""
        return str(self.result["verdict"]["words"])

    @property
    def reason(self) -> str:
        return str(self.result["verdict"]["reason"])

    @property
    def remedy(self) -> dict[str, int]:
        """Settings that might settle an inconclusive one, by their names in `audit`."""
        names = {"audit.draws": "samples"}
        return {
            names.get(key, key.removeprefix("audit.")): value
            for key, value in self.result["verdict"]["remedy"].items()
        }

    @property
    def random(self) -> Randomness:
        """Whether the model is random, by what, and whether seeds control it."""
        told = self.result["randomness"]
        return Randomness(tuple(told["sources"]), told["controlled"], told["shared"])

    @property
    def checks(self) -> tuple[Check, ...]:
        return tuple(Check(**each) for each in self.result["checks"])

    @property
    def accuracy(self) -> Interval:
        """What each image's best example leaves, a share, with its 95% interval."""
        return Interval(**self.result["verdict"]["accuracy"])

    @property
    def strongest(self) -> str:
        """The title of the strongest attack."""
        return next(
            str(a["title"]) for a in self.result["attacks"] if a["name"] == self.result["strongest"]
        )

    def __str__(self) -> str:
        lines = audits.text(self.result).split("\n")
        told = [f"  randomness: {self.random}", f"  strongest attack: {self.strongest}"]
        return "\n".join([*lines[:2], *told, *lines[2:]])

    def to_json(self, path: str | Path | None = None) -> str:
        """As JSON; written to `path`, if any."""
        return _written(json.dumps(self.result, indent=1, allow_nan=False) + "\n", path)

    def to_markdown(self, path: str | Path | None = None) -> str:
        """As a page of Markdown without a figure; written to `path`, if any."""
        return _written(audits.markdown(self.result, ""), path)

    def to_html(self, path: str | Path | None = None) -> str:
        """As a page of its own, with a figure where matplotlib is installed; written to `path`."""
        return _written(audits.web(self.result, self._picture()), path)

    def _picture(self) -> str:
        from ..report.audit_figure import figure

        with TemporaryDirectory() as folder:
            try:
                made = figure(self.result, Path(folder) / "audit.png")
            except ModuleNotFoundError:
                return ""
            return f"data:image/png;base64,{b64encode(made.read_bytes()).decode()}"


def _written(text: str, path: str | Path | None) -> str:
    if path is not None:
        Path(path).write_text(text)
    return text

"""The list of a folder's released networks: what each is, and the checksum of its file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..errors import UsageError, did_you_mean
from .architecture import Architecture
from .source import Source

FILE = "manifest.json"
FORMAT = 1
NAME = re.compile(r"[\w.-]*\w/[\w.-]*\w")


@dataclass(frozen=True)
class Entry:
    """A released network.

    Attributes:
        sha256: of its safetensors file; `reference_sha256` of its reference images, "" for none.
        weights: digest of its state dict, as in result rows.
        weights_id: identity of its training, configuration and data; `recipe`: configuration.
        clean: accuracy on `clean_images` test images, mean of `clean_draws` draws, with a 95%
            interval from `clean_low` to `clean_high`; fractions.
        card: all of it in a line.
    """

    name: str
    sha256: str
    architecture: Architecture
    weights: str
    weights_id: str
    recipe: str
    commit: str
    data: str
    data_digest: str
    licence: str
    kind: str
    bounds: tuple[float, float]
    unit: float
    autocast: str
    clean: float
    clean_low: float
    clean_high: float
    clean_images: int
    clean_draws: int
    card: str
    reference: str = ""
    reference_sha256: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str:
        return f"{self.name}.safetensors"

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "architecture": self.architecture.plain()}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Entry:
        known = {f.name for f in fields(cls)}
        if strange := sorted(plain.keys() - known):
            raise UsageError(f"unknown key {strange[0]!r}: upgrade the package")
        made = Architecture.read(plain["architecture"])
        return cls(**{**plain, "architecture": made, "bounds": tuple(plain["bounds"])})


@dataclass(frozen=True)
class Manifest:
    """Every released network of a folder or URL, by name."""

    source: Source
    entries: Mapping[str, Entry]

    @classmethod
    def at(cls, source: Source) -> Manifest:
        """Read it. Raises UsageError where there is none, or one of another version."""
        where, content = source.shown(FILE), source.read(FILE)
        try:
            plain = json.loads(content)
            if plain["format"] != FORMAT:
                raise UsageError(f"its format is {plain['format']}, not {FORMAT}: upgrade")
            entries = [Entry.read(each) for each in plain["networks"]]
            for each in entries:
                if not (NAME.fullmatch(each.name) and _is_plain(each.reference)):
                    raise UsageError(f"{each.name!r} is no name of a network")
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{where} is no manifest of released networks ({type(error).__name__}: {error}): "
                "fetch it again from where it came"
            ) from error
        return cls(source, {each.name: each for each in entries})

    def entry(self, name: str) -> Entry:
        """Raises UsageError for a name that is not there, with the nearest that is."""
        if name not in self.entries:
            raise UsageError(
                f"{name} is no released network of {self.source}: "
                + did_you_mean(name, self.entries, f"all: {self.source.shown(FILE)}")
            )
        return self.entries[name]

    def trained_as(self, weights_id: str) -> Entry | None:
        """The network of exactly this training: its configuration and its data."""
        return next((e for e in self.entries.values() if e.weights_id == weights_id), None)

    def save(self, folder: Path) -> Path:
        """Write it into a folder, sorted, whole or not at all."""
        networks = [each.plain() for _, each in sorted(self.entries.items())]
        text = json.dumps({"format": FORMAT, "networks": networks}, indent=1, ensure_ascii=False)
        path, part = folder / FILE, folder / f"{FILE}.part"
        part.write_bytes(f"{text}\n".encode())
        part.replace(path)
        return path


def _is_plain(file: str) -> bool:
    return not file or re.fullmatch(r"[\w-]+\.safetensors", file) is not None

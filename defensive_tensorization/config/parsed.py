"""Hydra's sources of files, each of which is parsed once a process: a third of a composition."""

import os
from copy import deepcopy
from dataclasses import replace
from typing import Any, cast

from hydra.plugins.config_source import ConfigResult, ConfigSource

_parsed: dict[tuple[str, str], tuple[tuple[int, int] | None, ConfigResult]] = {}


def parsed_once(sources: list[ConfigSource]) -> None:
    """Let the sources of files keep what they parsed, in place. A changed file is read anew."""
    sources[:] = [
        cast(ConfigSource, _Kept(each)) if each.scheme() in ("file", "pkg") else each
        for each in sources
    ]


class _Kept:
    """A source that hands out copies: Hydra changes what it gets."""

    def __init__(self, source: ConfigSource) -> None:
        self.source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Kept":
        return self

    def load_config(self, config_path: str) -> ConfigResult:
        key, stamp = (self.source.full_path(), config_path), self._stamp(config_path)
        if key not in _parsed or _parsed[key][0] != stamp:
            _parsed[key] = stamp, self.source.load_config(config_path)
        kept = _parsed[key][1]
        return replace(kept, config=deepcopy(kept.config), header=dict(kept.header))

    def _stamp(self, config_path: str) -> tuple[int, int] | None:
        """When the file was changed, and its size; None of a package's, which stay."""
        if self.source.scheme() != "file":
            return None
        name = config_path if config_path.endswith(".yaml") else f"{config_path}.yaml"
        stat = os.stat(os.path.join(self.source.path, name))
        return stat.st_mtime_ns, stat.st_size

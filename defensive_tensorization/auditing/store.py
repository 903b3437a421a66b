"""Finished pieces of long work on disk, so that an interrupted one goes on where it was.

Every piece is a file of plain tensors, named by a digest of all that decides it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..system.source import source_digest

Piece = Mapping[str, Tensor]
_OURS_OR_TORCH = ("torch", __name__.partition(".")[0])


class Store:
    """folder: where the pieces stay; None: a temporary one, which is removed with the store.

    identity: of the model and whatever else all pieces depend on.
    """

    def __init__(self, folder: str | Path | None, *identity: Any) -> None:
        self._held = TemporaryDirectory() if folder is None else None
        self.folder = Path(self._held.name if self._held else folder or "")
        self.identity = identity
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UsageError(f"cache={folder} is a file: name a folder") from None

    def remember(self, make: Callable[[], Piece], *key: Any) -> Piece:
        """The piece of this key, made if it is not there."""
        path = self.path(*key)
        if (found := self._read(path)) is not None:
            return found
        made = make()
        partial = path.with_suffix(f".{os.getpid()}.partial")
        torch.save({name: tensor.detach().cpu() for name, tensor in made.items()}, partial)
        partial.replace(path)
        return made

    def path(self, *key: Any) -> Path:
        text = json.dumps([*self.identity, *key], sort_keys=True, default=str)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.pt"

    @staticmethod
    def _read(path: Path) -> Piece | None:
        """None for one that is not there, or damaged: it is made anew."""
        try:
            found: Piece = torch.load(path, weights_only=True)
            return found
        except FileNotFoundError:
            return None
        except Exception:  # what torch.load makes of a damaged file has no common kind
            return None


def model_digest(model: nn.Module) -> str:
    """Of weights, buffers, modes, plain attributes, and the source of classes of the person's."""
    found = hashlib.sha256()
    for name, module in model.named_modules():
        kind = type(module)
        told: list[Any] = [name, kind.__module__, kind.__qualname__, module.training]
        told += sorted((k, v) for k, v in vars(module).items() if _plain(v) and k != "training")
        told.append(module.extra_repr() if kind.__module__.startswith("torch.") else "")
        if kind.__module__.partition(".")[0] not in _OURS_OR_TORCH:
            told.append(source_digest(kind))
        found.update(repr(told).encode())
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found.update(name.encode())
        found.update(tensor_digest(tensor).encode())
    return found.hexdigest()[:24]


def tensor_digest(tensor: Tensor) -> str:
    """Of its values, shape and type."""
    here = tensor.detach().cpu().contiguous()
    found = hashlib.sha256(f"{here.dtype} {[*here.shape]}".encode())
    if here.numel():
        found.update(here.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:24]


def _plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_plain(part) for part in value)
    return isinstance(value, bool | int | float | str | type(None))

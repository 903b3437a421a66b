"""Finished pieces of long work on disk, so that an interrupted one goes on where it was.

Every piece is a file of plain tensors, named by a digest of all that decides it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .model_digest import NoDigest, model_digest

Piece = Mapping[str, Tensor]


class Store:
    """folder: where the pieces stay; None: a temporary one, which is removed with the store.

    identity: of the model and whatever else all pieces depend on.
    """

    def __init__(self, folder: str | Path | None, *identity: Any) -> None:
        if not isinstance(folder, str | Path | None):
            raise UsageError(f"cache must be a folder's path, got {folder!r}: such as 'cache'")
        self.folder = Path(mkdtemp() if folder is None else folder)
        if folder is None:
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
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


def digests(cache: str | Path | None, *models: nn.Module | None) -> Sequence[str] | None:
    """Return the models' digests, "" for None; None without a cache, or where one has no digest.

    A model without a digest is warned of: nothing is read from the cache, and nothing is kept.
    """
    if cache is None:
        return None
    try:
        return ["" if model is None else model_digest(model) for model in models]
    except NoDigest as error:
        warnings.warn(
            f"cache={cache} is not used: {error.part} {error.reason}, so an equal model cannot be "
            "recognized; put such values into plain attributes, or leave out cache",
            UserWarning,
            stacklevel=3,
        )
        return None

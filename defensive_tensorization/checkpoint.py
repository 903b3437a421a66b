"""Checkpoints: whole or absent, and read without running code from the file."""

import logging
import os
import tempfile
import zipfile
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write beside, flush to disk, then rename: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def digest(weights: Mapping[str, Tensor]) -> str:
    """16 hex digits over the names, types, shapes and bytes of a state dict."""
    state = blake2b(digest_size=8)
    for name, tensor in weights.items():
        state.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        state.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def load(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The state saved for this fingerprint; None (with a warning) when the file cannot be used."""
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not compare the checksums
            damaged = archive.testzip()
            if damaged or any(entry.external_attr for entry in archive.infolist()):
                raise zipfile.BadZipFile(f"bad checksum of {damaged or 'the directory'}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail anywhere, and with anything
        log.warning("%s cannot be read (%s): training again", path, str(error).split("\n")[0])
        return None
    if not isinstance(state, dict) or (state.get("format"), state.get("fingerprint")) != (
        FORMAT,
        fingerprint,
    ):
        log.warning("%s belongs to another run or format: training again", path)
        return None
    return state

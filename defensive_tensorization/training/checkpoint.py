"""Checkpoints: whole or absent, and read without running code from the file."""

import logging
import os
import zipfile
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .loop import Progress

log = logging.getLogger(__name__)

FORMAT = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Write beside, flush to disk, then rename: a reader sees the old file or the new one.

    One process at a time: what a killed one left beside is written over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    try:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        cause = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(cause, OSError):  # torch makes a RuntimeError of a full disk
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        raise


def digest(weights: Mapping[str, Tensor]) -> str:
    """16 hex digits over the names, types, shapes and bytes of a state dict."""
    state = blake2b(digest_size=8)
    for name, tensor in weights.items():
        state.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        state.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def described(path: Path) -> tuple[str, dict[str, Any]]:
    """Of a sound checkpoint its fingerprint and the configuration that it was trained from."""
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return state["fingerprint"], state["config"]


def commits(state: Mapping[str, Any]) -> list[str]:
    """Those whose code trained it, in order, each with "+" if files differed from it.

    Older checkpoints hold the last one alone, as (commit, whether files differed), or none.
    """
    commit, dirty = state.get("commit", ("", False))
    return list(state.get("commits", [commit + "+" * dirty] if commit else []))


def load(path: Path, fingerprint: str, network: nn.Module | None = None) -> dict[str, Any] | None:
    """The state saved for this fingerprint; None (with a warning) when the file cannot be used.

    It must hold the progress of a training of `network`, where one is given.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not compare the checksums
            damaged = archive.testzip()
            if damaged or any(entry.external_attr for entry in archive.infolist()):
                raise zipfile.BadZipFile(f"bad checksum of {damaged or 'the directory'}")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise
    except Exception as error:  # a damaged file can fail anywhere, and with anything
        log.warning("%s cannot be read (%s): training again", path, str(error).split("\n")[0])
        return None
    if not isinstance(state, dict) or (state.get("format"), state.get("fingerprint")) != (
        FORMAT,
        fingerprint,
    ):
        log.warning("%s belongs to another run or format: training again", path)
        return None
    if network is not None and (reason := misfit(state.get("progress"), network)):
        log.warning("%s holds another version's network (%s): training again", path, reason)
        return None
    return state


def misfit(progress: Any, network: nn.Module) -> str:
    """Why a training of the network cannot go on from there; "" where it can."""
    try:
        now = Progress(**progress)
        kinds = {name: type(value) for name, value in vars(Progress()).items()}
        for name, value in vars(now).items():
            if not isinstance(value, kinds[name]):
                return f"{name} is no {kinds[name].__name__}"
        here, there = network.state_dict(), now.network
        if strange := sorted(here.keys() ^ there.keys()):
            return f"{strange[0]} is on one side only"
        weights = list(network.named_parameters())
        pairs = [(name, tensor, there[name]) for name, tensor in here.items()]
        for index, held in now.optimizer["state"].items():
            name, weight = weights[index]
            pairs += [(f"{key} of {name}", weight, v) for key, v in held.items() if v.ndim]
        for name, one, other in pairs:
            if one.shape != other.shape:
                return f"{name} is {list(one.shape)} here and {list(other.shape)} there"
        if now.step and not {"total", "sketch", "noise", "torch"} <= now.streams.keys():
            return "an epoch under way without its generators"
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""

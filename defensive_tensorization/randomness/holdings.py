"""The generators that an object holds: in its attributes, in containers, in what those hold."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..sketching.draws import RandomState

DEPTH = 4  # a transform in a list in a pipeline in a module
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_OPAQUE = (
    RandomState,
    Tensor,
    np.ndarray,
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type,
    ModuleType,
    type(None),
)


def generators(module: nn.Module) -> Iterator[Any]:
    """Of the module itself; its submodules have their own turn. SystemRandom has no state."""
    seen: set[int] = set()
    waiting = [(value, 1) for value in vars(module).values()]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, (nn.Module, *_OPAQUE)) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, GENERATORS):
            if not isinstance(value, random.SystemRandom):
                yield value
        elif depth < DEPTH:
            waiting += [(part, depth + 1) for part in _parts(value)]


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return [value.__self__]
    if isinstance(value, FunctionType):
        return [cell.cell_contents for cell in value.__closure__ or () if _filled(cell)]
    return list(vars(value).values()) if hasattr(value, "__dict__") else []


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # not assigned yet
        return False

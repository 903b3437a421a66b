"""The generators that a module can reach: what it, its class and its functions hold.

In attributes, in containers, in what those hold; in closures, default arguments and the global
variables that a function of the module's class names.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
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
_KNOWN = (__name__.partition(".")[0], "torch", "torchvision", "numpy", "builtins")  # hold none


def generators(module: nn.Module) -> Iterator[Any]:
    """Of the module itself; its submodules have their own turn. SystemRandom has no state."""
    seen: set[int] = set()
    waiting = [(value, 1) for value in [*vars(module).values(), *_of_class(type(module))]]
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


def _of_class(kind: type) -> list[Any]:
    """Its attributes and functions and those of its bases, as far as they are somebody's own."""
    return [v for base in kind.__mro__ if not _known(base) for v in vars(base).values()]


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget]
    if isinstance(value, FunctionType):
        return [] if _known(value) else _of_function(value)
    return list(vars(value).values()) if hasattr(value, "__dict__") else []


def _of_function(function: FunctionType) -> list[Any]:
    """What it closes over, its default arguments, and the global variables that it names."""
    closed = [cell.cell_contents for cell in function.__closure__ or () if _filled(cell)]
    given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    there = function.__globals__
    return [*closed, *given, *(there[n] for n in _names(function.__code__) if n in there)]


def _names(code: CodeType) -> Iterator[str]:
    """Of globals, and of attributes; those of functions inside it too."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _known(named: Any) -> bool:
    return (named.__module__ or "").partition(".")[0] in _KNOWN


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # not assigned yet
        return False

"""What a model's own code reaches past its attributes: module globals and class attributes."""

import dis
import functools
import types
from collections import deque
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from torch import Tensor, nn

from .hooks import functions

HOLDERS = (
    *(nn.Module, Tensor, FunctionType, types.MethodType, functools.partial),
    *(list, tuple, dict, set, frozenset, deque),
)
"""The kinds of values that are searched: other objects (loggers, registries) lead everywhere."""
METHODS = (property, functools.cached_property, staticmethod, classmethod)


def class_members(kind: type) -> list[tuple[str, Any]]:
    """The methods and class attributes that `forward` uses, by name; torch's own code aside.

    A method that `forward` calls is followed by the names in its code. So `__init__` is left out,
    which may name a layer without calling it.
    """
    classes = [each for each in kind.__mro__ if not _of_torch(each.__module__)]
    found: list[tuple[str, Any]] = []
    waiting, seen = ["forward", "__call__"], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for value in [vars(each)[name] for each in classes if name in vars(each)]:
            if isinstance(value, (*HOLDERS, *METHODS)):
                found.append((name, value))
            function = value
            for inner in ("fget", "func", "__func__"):
                function = getattr(function, inner, function)
            if isinstance(function, FunctionType):
                mine = (each for each in functions(function) if not _of_torch(each.__module__))
                waiting += (n for f in mine for code in codes(f.__code__) for n in code.co_names)
    return found


def used_globals(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The module globals that a function reads and that may hold a layer, by name."""
    if _of_torch(function.__module__):
        return
    names = {
        step.argval
        for code in codes(function.__code__)
        for step in dis.get_instructions(code)
        if step.opname == "LOAD_GLOBAL"  # co_names has attributes too, as in self.stem
    }
    for name in sorted(names):
        value = function.__globals__.get(name)
        if isinstance(value, HOLDERS):
            yield name, value


def codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function, and of those defined within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def _of_torch(module: str | None) -> bool:
    return (module or "").partition(".")[0] == "torch"

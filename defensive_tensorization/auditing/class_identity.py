"""What tells the classes and functions of a model apart: name, source, and whose they are."""

from types import FunctionType
from typing import Any

from ..system.source import source_digest

PACKAGE = __name__.partition(".")[0]
_VERSIONED = ("torch", PACKAGE)  # whose classes are known by name
LIBRARIES = (*_VERSIONED, "torchvision", "numpy", "math", "operator", "builtins", "_operator")
_FORWARDS = ("forward", "__call__", "_call_impl", "_conv_forward")  # of a library's classes


def class_id(kind: type) -> tuple[str, str, str]:
    """A class by name, and by its source if neither torch nor this package has it."""
    return (kind.__module__, kind.__qualname__, "" if versioned(kind) else source_digest(kind))


def versioned(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in (*_VERSIONED, "builtins")


def unbound(value: Any) -> Any:
    """The function of a method, property, static method or class method."""
    for inner in ("fget", "__func__"):
        value = getattr(value, inner, value)
    return value


def replaced(base: type, name: str, function: FunctionType) -> bool:
    """Whether a method of the class was written elsewhere than in the class."""
    if not versioned(base):
        return not (
            function.__module__ == base.__module__
            and function.__qualname__.startswith(f"{base.__qualname__}.")
        ) and not of_library(function)
    return name in _FORWARDS and not of_library(function)


def of_library(function: FunctionType) -> bool:
    return (function.__module__ or "").partition(".")[0] in LIBRARIES

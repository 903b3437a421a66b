"""What a model computes, as one digest: equal models have equal digests, in any process.

It covers each module's class and what the class holds now, its mode, parameters, buffers,
submodules and attributes, each sketch, and the contexts that are open: those of `sketching`, the
derivative of sgn in force, and autocast. States of random generators are left out, as every
measurement seeds them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import random
import re
import sys
import weakref
import zipfile
from collections import deque
from collections.abc import Iterable
from enum import Enum
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..sketching.draws import LIVE, RandomState, controls
from ..xnor.sign import chosen
from .class_identity import LIBRARIES, PACKAGE, class_id, replaced, unbound, versioned

_SCALARS = (bool, int, float, complex, str, bytes, type(None), type(...), range, PurePath)
_OF_TORCH = (torch.device, torch.dtype, torch.layout, torch.memory_format)
_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_TABLES = ("_parameters", "_buffers", "_modules")
_OF_MODULES = set(vars(nn.Module()))
_HOOKS = sorted(k for k in _OF_MODULES if k.endswith("_hooks") and "state_dict" not in k)
_SKIPPED = (_OF_MODULES | {"_compiled_call_impl"}) - {"training"}
_SKIPPED_OF_SKETCH = {"_seed", "_generators", "calls", "number"}  # where its draws stand
_CACHES = (f"{PACKAGE}.tucker.kept",)  # modules whose objects hold what parameters decide


class NoDigest(UsageError):
    """A part of a model cannot be compared with another's; `part` and `reason` say which."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part} {reason}, so models cannot be compared: remove it from the model")
        self.part = part
        self.reason = reason


def model_digest(model: nn.Module) -> str:
    """Return a digest of all that decides the model's answers, as it is called here and now.

    Raises:
        NoDigest: for a hook, a function, or another object whose state cannot be compared.
    """
    found = [_Reader().read(model, "model"), chosen(), *map(_autocast, ("cpu", "cuda"))]
    return hashlib.sha256(repr(found).encode()).hexdigest()[:24]


def tensor_digest(tensor: Tensor) -> str:
    """Of its values, shape and type."""
    here = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    found = hashlib.sha256(f"{here.dtype} {[*here.shape]}".encode())
    if here.numel():
        found.update(here.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:24]


class _Reader:
    """Turns values into nested tuples of strings, whose `repr` is the same in every process."""

    def __init__(self) -> None:
        self.modules: dict[int, str] = {}  # where each was met first
        self.around: list[int] = []  # the containers and objects that are being read

    def read(self, value: Any, part: str) -> Any:
        if isinstance(value, nn.Module):
            if id(value) not in self.modules:
                self.modules[id(value)] = part
                return self._module(value, part)
            return ("module", self.modules[id(value)])
        if isinstance(value, Tensor):
            return ("tensor", _of_tensor(value, part))
        if isinstance(value, Enum):
            return (*class_id(type(value)), value.name)
        if isinstance(value, (*_SCALARS, *_OF_TORCH)):
            return (type(value).__name__, repr(value))
        if isinstance(value, _GENERATORS):
            return (type(value).__name__, str(getattr(value, "device", "")))
        if isinstance(value, type):
            return class_id(value)
        if id(value) in self.around:
            return ("around", len(self.around) - self.around.index(id(value)))
        self.around.append(id(value))
        try:
            return self._compound(value, part)
        finally:
            self.around.pop()

    def _compound(self, value: Any, part: str) -> Any:
        kind = class_id(type(value))
        if kind[0] in _CACHES:
            return kind
        if isinstance(value, np.ndarray | np.generic):
            if value.dtype.hasobject:
                return (kind, self._each(value.reshape(-1).tolist(), part), value.shape)
            return (kind, value.dtype.str, value.shape, _sha(value.tobytes()))
        if isinstance(value, dict | MappingProxyType):
            return (kind, self._pairs(value.items(), part), self._beside(value, part))
        if isinstance(value, list | tuple | deque):
            return (kind, self._each(value, part), self._beside(value, part))
        if isinstance(value, set | frozenset):
            return (kind, sorted(map(repr, self._each(value, part))), self._beside(value, part))
        if isinstance(value, slice):
            return (kind, self._each((value.start, value.stop, value.step), part))
        if isinstance(value, re.Pattern):
            return (kind, repr(value.pattern), value.flags)
        if isinstance(value, weakref.ref):
            return (kind, self.read(value(), part))
        if isinstance(value, partial):
            return (kind, self._each((value.func, value.args, value.keywords), part))
        if isinstance(value, RandomState):
            return (kind, self._sketch(value, part))
        if isinstance(value, FunctionType | BuiltinFunctionType):
            return (kind, _function(value, part))
        if dataclasses.is_dataclass(value):
            names = [field.name for field in dataclasses.fields(value)]
            state = {name: getattr(value, name) for name in names} | _vars(value)
            return (kind, self._attributes(state, part))
        _refuse(part, f"is of the class {kind[1]}, whose state cannot be compared")

    def _module(self, module: nn.Module, part: str) -> Any:
        if isinstance(module, torch.jit.ScriptModule):
            return ("script", _of_script(module))
        for hook in (hook for name in _HOOKS for hook in vars(module).get(name, {}).values()):
            _refuse(part, f"has a hook ({_named(hook)})")
        tables = [self._attributes(getattr(module, name), part) for name in _TABLES]
        compiled = type(module).__module__.startswith("torch._dynamo")  # its module counts
        own = {} if compiled else vars(module)
        named = {k: own[k] for k in sorted(own) if k not in _SKIPPED}
        kind = type(module)
        return (class_id(kind), self._class(kind, part), tables, self._attributes(named, part))

    def _class(self, kind: type, part: str) -> Any:
        """The values that a person's classes hold now; their source does not tell a later change.

        A value that cannot be compared stands by its type. Raises NoDigest for a method that was
        put into a class later, also into one of a library.
        """
        found = []
        for base in kind.__mro__:
            for name, value in vars(base).items():
                function = unbound(value)
                if isinstance(function, FunctionType):
                    if replaced(base, name, function):
                        _refuse(part, f"has a method from elsewhere ({_named(function)})")
                elif not (versioned(base) or name.startswith("__") or hasattr(value, "__get__")):
                    found.append((name, self._if_known(value, f"{part}.{name}")))
        return found

    def _if_known(self, value: Any, part: str) -> Any:
        try:
            return self.read(value, part)
        except NoDigest:
            return class_id(type(value))

    def _sketch(self, sketch: RandomState, part: str) -> Any:
        """Its distribution, and what the contexts in force make of it."""
        control = controls.get(sketch, LIVE, warn=False)
        if control.replay is not None or control.record:
            _refuse(part, "is under sketching.replay or record")
        frozen = control.frozen is not None and control.seed
        state = {k: v for k, v in vars(sketch).items() if k not in _SKIPPED_OF_SKETCH}
        in_force = (control.enabled, frozen, control.draws_per_batch, control.part)
        return (self._attributes(state, part), in_force)

    def _beside(self, value: Any, part: str) -> Any:
        """The attributes of an object of a subclass of list or dict."""
        return self._attributes(_vars(value), part)

    def _attributes(self, state: dict[str, Any], part: str) -> Any:
        return self._pairs(state.items(), part)

    def _pairs(self, items: Iterable[tuple[Any, Any]], part: str) -> Any:
        return [(self.read(key, part), self.read(value, f"{part}.{key}")) for key, value in items]

    def _each(self, values: Iterable[Any], part: str) -> list[Any]:
        return [self.read(value, f"{part}[{place}]") for place, value in enumerate(values)]


def _autocast(device: str) -> str:
    return str(torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device))


def _vars(value: Any) -> dict[str, Any]:
    return dict(getattr(value, "__dict__", {}))


def _function(value: Any, part: str) -> str:
    """The full name of a library's function. Raises NoDigest for any other."""
    owner = getattr(value, "__self__", None)
    module = value.__module__ or getattr(owner, "__module__", None) or ""
    if isinstance(owner, ModuleType | type | None) and module.partition(".")[0] in LIBRARIES:
        home = owner if isinstance(owner, type) else sys.modules.get(module)
        if getattr(home, value.__name__, None) is value or isinstance(owner, type):
            return f"{module}.{value.__qualname__}"
    _refuse(part, f"is a function ({_named(value)})")


def _of_tensor(tensor: Tensor, part: str) -> str:
    try:
        return tensor_digest(tensor)
    except (RuntimeError, NotImplementedError, TypeError):
        _refuse(part, f"is a tensor without plain values ({tensor.layout}, {tensor.device})")


def _of_script(module: torch.jit.ScriptModule) -> Any:
    """Its saved file, without the notes on where its source code lies."""
    with zipfile.ZipFile(io.BytesIO(module.save_to_buffer())) as file:
        names = [n.partition("/")[2] for n in file.namelist() if not n.endswith(".debug_pkl")]
        contents = [file.read(n) for n in file.namelist() if not n.endswith(".debug_pkl")]
    return [(name, _sha(content)) for name, content in zip(names, contents, strict=True)]


def _named(value: Any) -> str:
    return getattr(value, "__qualname__", type(value).__qualname__)


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:24]


def _refuse(part: str, reason: str) -> NoReturn:
    raise NoDigest(part, reason)

"""The attributes of a model's modules: which there are, and the plain data that they hold."""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor, nn

_OF_MODULES = frozenset(vars(nn.Module())) | {"_compiled_call_impl"}
_SEQUENCES = (list, deque, bytearray)
_TABLES = (dict, OrderedDict, defaultdict, Counter, set)
_FIXED = (tuple, frozenset)  # whose members may change


class Attributes:
    """Attributes as they are bound now, and copies of the containers and arrays that they hold.

    Plain data are numbers, texts, tensors, arrays, and lists, tuples, dictionaries and sets of
    them. An object of another class is put back as the same object, whatever happened inside it.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self.bound = [(vars(module), _own(module)) for module in modules]
        self.tensors: list[Tensor] = []
        self._copies: list[tuple[Any, Any]] = []
        waiting = [value for _, own in self.bound for value in own.values()]
        seen: dict[int, Any] = {}
        while waiting:
            value = waiting.pop()
            if id(value) in seen:
                continue
            seen[id(value)] = value
            waiting += self._read(value)

    def _read(self, value: Any) -> list[Any]:
        """Note one value; return what it holds."""
        kind = type(value)
        if kind in (Tensor, nn.Parameter) and not value.is_inference():
            self.tensors.append(value)
        elif kind is np.ndarray:
            self._copies.append((value, value.copy()))
        elif kind in (*_SEQUENCES, *_TABLES):
            self._copies.append((value, value.copy()))
            return [*(value.values() if isinstance(value, dict) else value)]
        elif kind in _FIXED:
            return [*value]
        return []

    def restore(self) -> None:
        """Put back what changed, the tensors' values excepted."""
        for table, own in self.bound:
            for name in [n for n in table if n not in _OF_MODULES and n not in own]:
                del table[name]
            table.update({n: v for n, v in own.items() if n not in table or table[n] is not v})
        for value, copy in self._copies:
            if isinstance(value, np.ndarray):
                if value.flags.writeable and value.shape == copy.shape:
                    value[...] = copy
            elif not _same(value, copy):
                value.clear()
                (value.update if isinstance(value, _TABLES) else value.extend)(copy)


def _own(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in _OF_MODULES}


def _same(value: Any, copy: Any) -> bool:
    """Whether two containers of a kind hold the same objects, in the same order."""
    if len(value) != len(copy):
        return False
    pairs = [*zip(value, copy, strict=True)]
    if isinstance(value, dict):
        pairs += zip(value.values(), copy.values(), strict=True)
    return all(one is other for one, other in pairs)

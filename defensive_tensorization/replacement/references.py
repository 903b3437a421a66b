"""Who else in a model holds its layers or parameters, beside the modules' own registers."""

import functools
import gc
import itertools
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from .hooks import cell_content
from .in_code import class_members, used_globals

Put = Callable[[Any], None]
"""Puts another object where the reference is."""

ATOMS = (
    *(str, bytes, int, float, complex, bool, type(None), type, range, slice),
    *(types.ModuleType, types.BuiltinFunctionType, types.CodeType, types.FrameType),
)


@dataclass(frozen=True)
class Reference:
    """A reference to `target`, met on the way from the attribute `where` of a module.

    put  writes another object in its place; None: it stands where nothing can be written.
    """

    target: Any
    where: str
    put: Put | None


def registered(model: nn.Module) -> Iterator[tuple[str, str, nn.Module, nn.Parameter]]:
    """Each place of a parameter: the module's name, the parameter's, the module, the parameter."""
    for name, module in model.named_modules():
        for key, parameter in module._parameters.items():
            if parameter is not None:
                yield name, key, module, parameter


def references(model: nn.Module, targets: list[Any]) -> list[Reference]:
    """Every reference to a target within what the model can reach, its parameters' own register
    aside: submodules, plain lists and dicts, attributes, closures, bound methods, and the module
    globals and class attributes that a forward uses.

    Optimizers are not searched.
    """
    wanted = {id(each) for each in targets}
    found: list[Reference] = []
    seen: set[int] = set()
    names = {id(module): name for name, module in model.named_modules()}
    queue: deque[tuple[Any, str]] = deque([(model, "")])
    members: dict[type, list[tuple[str, Any]]] = {}
    while queue:
        holder, where = queue.popleft()
        kind = type(holder)
        if isinstance(holder, nn.Module) and kind not in members:
            members[kind] = class_members(kind)
        of_class = ((value, key, None) for key, value in members.get(kind, ()))
        for item, key, put in itertools.chain(_inside(holder), of_class):
            if isinstance(item, ATOMS):
                continue
            at = _place(holder, where, key, names)
            if id(item) in wanted:
                found.append(Reference(item, at, put))
            if id(item) not in seen and not isinstance(item, Tensor | Optimizer):
                seen.add(id(item))
                queue.append((item, at))
    return found


def _place(holder: Any, where: str, key: str, names: dict[int, str]) -> str:
    if isinstance(holder, nn.Module) and id(holder) in names:
        name = names[id(holder)]
        return f"{name}.{key}" if name else key
    return f"{where} ({key})" if key else where


def _inside(holder: Any) -> Iterator[tuple[Any, str, Put | None]]:
    """What an object holds: item, the attribute's name, and how to write another in its place."""
    if isinstance(holder, nn.Module):
        values = vars(holder)
        yield from ((m, n, _setter(holder._modules, n)) for n, m in holder._modules.items())
        for key, value in values.items():
            if key not in ("_modules", "_parameters", "_buffers"):
                yield value, key, _setter(values, key)
    elif isinstance(holder, dict):
        for key, value in list(holder.items()):
            yield value, "", _setter(holder, key)
            yield key, "", None
    elif isinstance(holder, list | deque):
        yield from ((value, "", _setter(holder, i)) for i, value in enumerate(holder))
    elif isinstance(holder, tuple | set | frozenset):
        yield from ((value, "", None) for value in holder)
    elif isinstance(holder, types.FunctionType):
        cells = [cell_content(cell) for cell in holder.__closure__ or ()]
        kept = (holder.__defaults__, holder.__kwdefaults__, vars(holder))
        yield from ((value, "", None) for value in (*cells, *kept))
        yield from ((value, f"global {name}", None) for name, value in used_globals(holder))
    elif isinstance(holder, types.MethodType):
        yield from ((value, "", None) for value in (holder.__self__, holder.__func__))
    elif isinstance(holder, functools.partial):
        yield from ((value, "", None) for value in (holder.func, holder.args, holder.keywords))
    elif isinstance(holder, weakref.ref):
        yield holder(), "", None
    else:
        kept_in = getattr(holder, "__dict__", None) if gc.is_tracked(holder) else None
        if isinstance(kept_in, dict):
            yield from ((v, "", _setter(kept_in, k)) for k, v in list(kept_in.items()))
        if gc.is_tracked(holder):  # slots, and whatever C holds
            yield from (
                (value, "", None) for value in gc.get_referents(holder) if value is not kept_in
            )


def _setter(into: Any, key: Any) -> Put:
    def put(value: Any) -> None:
        into[key] = value

    return put

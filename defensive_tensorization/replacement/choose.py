"""Which layers of a model to replace, and which stay as they are."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from ..errors import UsageError
from .kinds import own_computation

Selector = str | type[nn.Module]


@dataclass(frozen=True)
class Left:
    """A layer that was wanted and stays as it is; `reason` says why and what helps."""

    name: str
    kind: str
    reason: str

    def __str__(self) -> str:
        return f"layer '{self.name}' {self.reason}"


@dataclass(frozen=True)
class Choice:
    """The layers to replace, by their first names, and the wanted ones that stay."""

    layers: dict[str, nn.Module]
    left: tuple[Left, ...]

    def warn(self, verb: str, report: str, stacklevel: int = 3) -> None:
        """One warning that names the layers that stay."""
        if self.left:
            warnings.warn(
                f"{verb} left {len(self.left)} of the model's layers as they are: "
                f"{shortened([str(each) for each in self.left], '; ')}. "
                f"The model's {report}.left lists them; name them in exclude to say that you know",
                stacklevel=stacklevel,
            )


def choose(
    model: nn.Module,
    kinds: Mapping[str, type[nn.Module]],
    include: Iterable[Selector],
    exclude: Iterable[Selector],
    *,
    silent: bool = False,
    unsupported: Mapping[str, str] | None = None,
) -> Choice:
    """Sort the layers of a model.

    Args:
        kinds: The dense type that each candidate stands for, by name, in the model's order.
        include: Names, glob patterns or types. A layer that cannot be replaced stays as it is if
            a pattern or a type found it, and is refused if its exact name is given.
        exclude: The same, taken out again.
        silent: Whether a selector in `include` may match nothing.
        unsupported: Reasons why other layers stay, by name.

    Raises:
        UsageError: A selector matches nothing or is none; a layer named in `include` must stay.
    """
    modules = dict(model.named_modules())
    unsupported = unsupported or {}
    candidates = {n: m for n, m in modules.items() if n in kinds or n in unsupported}
    named = selectors("include", include)
    wanted = matching(candidates, named, silent)
    for name in matching(candidates, selectors("exclude", exclude), False):
        wanted.pop(name, None)
    layers, left = {}, []
    for name, module in wanted.items():
        if name in unsupported:
            reason: str | None = unsupported[name]
        else:
            lazy = isinstance(module, LazyModuleMixin)  # refused later: it has no weights yet
            reason = None if lazy else own_computation(module, kinds[name])
        if reason is None:
            layers[name] = module
            continue
        left.append(Left(name, type(module).__name__, reason))
        if name in named and name:
            raise UsageError(f"{left[-1]}; or take it out of include")
    return Choice(layers, tuple(left))


def selectors(what: str, given: Iterable[Selector]) -> list[Selector]:
    """`given` as a list, each entry a name, a pattern or a type."""
    if isinstance(given, str | type):
        raise UsageError(
            f"include and exclude are lists, got the string {given!r}: write [{given!r}]"
            if isinstance(given, str)
            else f"{what} is a list, got {given.__name__}: write [{given.__name__}]"
        )
    if not isinstance(given, Iterable):
        raise UsageError(f"{what} is a list of layer names, patterns or types, got {given!r}")
    found = list(given)
    for each in found:
        if not isinstance(each, str | type):
            raise UsageError(
                f"{what} holds layer names, patterns or types, got {type(each).__name__}: give "
                "the layer's name, as named_modules() has it"
            )
    return found


def matching(
    layers: dict[str, nn.Module], chosen: Iterable[Selector], silent: bool
) -> dict[str, nn.Module]:
    """The layers that any selector matches, in the model's order."""
    found: set[str] = set()
    for selector in chosen:
        if isinstance(selector, str):
            hits = {n for n in layers if fnmatchcase(n, selector)}
        else:
            hits = {n for n, m in layers.items() if isinstance(m, selector)}
        if not hits and not silent:
            raise UsageError(
                f"no layer matches {selector!r}: there are {shortened(list(layers)) or 'none'}"
            )
        found |= hits
    return {n: m for n, m in layers.items() if n in found}


def shortened(texts: list[str], between: str = ", ") -> str:
    """The first texts, and how many more there are."""
    first = texts[:8]
    more = len(texts) - len(first)
    return between.join(first) + (f" and {more} more" if more else "")

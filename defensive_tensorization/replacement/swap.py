"""New layers in the place of old ones."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from torch import nn

from .carry import bequeath
from .references import Reference

M = TypeVar("M", bound=nn.Module)


def replace(
    model: M,
    made: Mapping[nn.Module, nn.Module],
    found: Iterable[Reference],
    dense: Mapping[nn.Module, type],
    *,
    same_weights: bool = False,
) -> M:
    """Put each new layer wherever its old one is; all of it happens or nothing.

    Args:
        made: From old to new layers.
        found: Where the old layers are, as `audit` returned it.
        dense: The plain type that each old layer stands for.

    Returns:
        The model, or the new layer if the model is itself a layer that goes.
    """
    done: list[tuple[Reference, Any]] = []
    try:
        for each in found:
            assert each.put is not None  # the audit refused those
            each.put(made[each.target])
            done.append((each, each.target))
        for old, new in made.items():
            bequeath(old, new, dense[old], same_weights=same_weights)
    except BaseException:
        for each, target in done:
            assert each.put is not None
            each.put(target)
        raise
    return cast(M, made.get(model, model))

"""Calling what a `_target_` names."""

from typing import Any

from hydra.errors import HydraException
from hydra.utils import get_object, instantiate

from ..errors import UsageError


def construct(target: str, **options: Any) -> Any:
    """Call what the dotted path names, the options handed over as they are."""
    return get_object(target)(**options)


def build(node: Any, **extra: Any) -> Any:
    """Call what `_target_` names with the node's other values; None means: not given."""
    options = {k: v for k, v in vars(node).items() if v is not None and k != "_target_"}
    try:
        return instantiate({"_target_": node._target_, **options}, **extra, _convert_="all")
    except HydraException as error:
        if isinstance(error.__cause__, UsageError):
            raise error.__cause__ from None
        raise

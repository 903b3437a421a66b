"""Calling what a `_target_` names."""

from inspect import signature
from typing import Any

from hydra.utils import get_object

from ..errors import UsageError


def construct(target: str, **options: Any) -> Any:
    """Call what the dotted path names, the options handed over as they are."""
    return get_object(target)(**options)


def build(node: Any, **extra: Any) -> Any:
    """Call what the node's `_target_` names with its other values; None means: not given."""
    options = {k: v for k, v in vars(node).items() if v is not None and k != "_target_"}
    try:
        signature(get_object(node._target_)).bind(**options, **extra)
    except TypeError as error:
        name = node._target_.rpartition(".")[2]
        raise UsageError(f"{name}: {error}; see configs/config.yaml") from None
    return construct(node._target_, **options, **extra)

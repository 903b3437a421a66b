"""A bar on a terminal, silence in a log (whoever loops writes its own line there)."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def bar(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """The items, with a progress bar that disappears when they end."""
    if not sys.stderr.isatty():
        yield from items
        return
    from tqdm import tqdm

    yield from tqdm(items, desc=label, total=total, leave=False)

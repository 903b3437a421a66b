"""A digest of somebody's code: what is computed by it is another thing once it changes."""

import hashlib
import inspect
import sysconfig
from pathlib import Path
from typing import Any

_INSTALLED = ("purelib", "platlib", "stdlib", "platstdlib")


def source_digest(thing: Any) -> str:
    """Hex digits of the source of a class or function; of its name where there is no source.

    A class's are those of its own bases too, up to the first from outside its top-level package.
    """
    parts = [thing]
    if isinstance(thing, type):
        top = thing.__module__.partition(".")[0]
        parts = [c for c in thing.__mro__ if c.__module__.partition(".")[0] == top]
    text = "\n".join(_source(part) for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _source(thing: Any) -> str:
    try:
        return inspect.getsource(inspect.unwrap(thing) if callable(thing) else thing)
    except (OSError, TypeError):  # typed at a prompt, or not Python
        return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', repr(thing))}"


def persons_module(thing: Any) -> str | None:
    """A digest of the file of a person's own class or function; None for a library's.

    A library is what is installed, and Python's own: its versions are told elsewhere.
    """
    try:
        file = inspect.getsourcefile(inspect.unwrap(thing) if callable(thing) else thing)
    except TypeError:
        return None
    if file is None or not Path(file).is_file():
        return None
    path = Path(file).resolve()
    installed = {Path(sysconfig.get_path(name)).resolve() for name in _INSTALLED}
    if any(folder in path.parents for folder in installed):
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]

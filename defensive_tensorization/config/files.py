"""Where the files lie that are no modules: configs/ and the published numbers.

A checkout, and an editable install of it, has them at its top; a wheel holds them inside the
package, where setup.py puts them.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..errors import UsageError

PACKAGE = Path(__file__).parents[1]
SHIPPED = PACKAGE / "shipped"  # in a wheel alone: configs/ and results/paper/


def shipped(name: str) -> Path:
    """Return the folder `name`, a path from the top of the repository, wherever it is installed.

    Raises UsageError where an installation lacks it.
    """
    top = SHIPPED if SHIPPED.is_dir() else PACKAGE.parent
    if not (top / name).is_dir():
        raise UsageError(
            f"{top / name} is missing: install anew, pip install --force-reinstall "
            "defensive-tensorization, or start in a whole checkout"
        )
    return top / name


CONFIGS = shipped("configs")
PAPER = shipped("results/paper")


@cache
def experiments() -> Mapping[str, Mapping[str, Any]]:
    """By name, what the file of each experiment says of its table, nothing composed."""
    files = sorted((CONFIGS / "experiment").glob("*.yaml"))
    return {path.stem: OmegaConf.select(OmegaConf.load(path), "experiment") for path in files}


def shown(path: str) -> str:
    """A file of configs/ as a person finds it: `configs/...` in a checkout, else its whole path."""
    return f"{CONFIGS}/{path}" if SHIPPED.is_dir() else f"configs/{path}"

"""The epsilons of a configuration, in the unit of its data."""

import logging
import re
from math import isfinite
from typing import Any

from ..errors import UsageError
from ..system import epsilon as epsilons
from .schema import Config

log = logging.getLogger(__name__)


def check_epsilons(config: Config) -> None:
    """Read every attack's epsilons into a list of numbers, each once; the unit was checked.

    Raises:
        UsageError: names the key that was set, which is eval.epsilon for an attack without its own.
    """
    for name, attack in config.attack.items():
        own = repr(attack.epsilon) != repr(config.eval.epsilon)
        key = f"attack.{name}.epsilon" if own else "eval.epsilon"
        values = attack.epsilon if isinstance(attack.epsilon, list) else [attack.epsilon]
        if not values:
            raise UsageError(f"{key}=[] has no epsilon: write one, such as [8], or attack=[]")
        read = [parse_epsilon(value, config.dataset.unit, key=key) for value in values]
        attack.epsilon = list(dict.fromkeys(read))  # 8 and 8/255 are one epsilon


def parse_epsilon(value: Any, unit: float, *, key: str = "epsilon") -> float:
    """An epsilon in the data's unit: `8` counts units, `8/255` is an amplitude in [0, 1]."""
    text = str(value).strip()
    fraction = re.fullmatch(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)", text)
    try:
        number = float(fraction[1]) / float(fraction[2]) / unit if fraction else float(text)
    except (ValueError, ZeroDivisionError):
        number = -1.0
    if not (isfinite(number) and number >= 0):
        raise UsageError(
            f"{key}={text} cannot be read: write a number >= 0 (8 means 8/255 on images) or a "
            "fraction such as 8/255"
        )
    number = number if unit == 1 else round(number, 9)
    if fraction:
        epsilons.settled(number)  # its unit is written down
    elif line := epsilons.warning(number, unit):
        log.warning("%s", line)
    return number

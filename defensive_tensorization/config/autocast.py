"""autocast=auto: bfloat16 where the device computes it itself, float32 elsewhere."""

from dataclasses import replace

from ..processor import EMULATED, bfloat16
from .schema import Config

PRECISIONS = ("bfloat16", "float32")


def resolve(config: Config) -> None:
    """Put the precision that `auto` stands for on this device in its place, and remember that."""
    for name in ("train", "eval"):
        section = getattr(config, name)
        if section.autocast == "auto":
            section.autocast = PRECISIONS[0] if bfloat16(config.device) else PRECISIONS[1]
            config.autocast_auto = [*config.autocast_auto, name]


def others(config: Config) -> list[Config]:
    """The same run with its training, then its evaluation too, in the other precision.

    Empty where the configuration names a precision: nothing else is meant by it then.
    """
    found = []
    for name in config.autocast_auto:
        section = getattr(config, name)
        other = next(each for each in PRECISIONS if each != section.autocast)
        config = replace(config, **{name: replace(section, autocast=other)})
        found.append(config)
    return found


def told(config: Config) -> str:
    """One line: what trains and evaluates in which precision, why, and what it costs."""
    used = {name: getattr(config, name).autocast for name in ("train", "eval")}
    line = " and ".join(f"{name}.autocast={value}" for name, value in used.items())
    native = bfloat16(config.device)
    if "bfloat16" not in used.values():
        return f"{line} (this processor emulates bfloat16)" if config.autocast_auto else line
    if native:
        return f"{line} (computed by {native})"
    return (
        f"{line}: this processor emulates bfloat16, about {EMULATED} times slower than "
        "float32; take scale.autocast=auto or float32"
    )

"""The configuration of a run that was trained, or released, by its name."""

from collections.abc import Sequence
from difflib import get_close_matches
from operator import attrgetter
from pathlib import Path

from .. import config as cfg
from ..config import Config
from ..errors import UsageError, did_you_mean
from ..experiment.released_networks import configured, entries
from ..training import checkpoint


def stored(model: str, overrides: Sequence[str]) -> Config:
    """The configuration of a trained run, by its name or the head of its fingerprint.

    Or of a released network, by its name, GROUP/NETWORK.
    """
    if "/" in model:
        return configured(model, overrides)
    runs = next((o.partition("=")[2] for o in overrides if o.startswith("paths.runs=")), "runs")
    folder = Path(cfg.home(runs, "paths.runs")) / "checkpoints"
    files = sorted(folder.glob("*.pt"))
    found = [file for file in files if file.stem == model]
    if not found and len(model) >= 8:
        mine = [file for file in files if file.stem.endswith(f"-{model[:8]}")]
        found = [file for file in mine if checkpoint.described(file)[0].startswith(model)]
    if len(found) != 1:
        remedy = _nearest(model, [file.stem for file in files], [*entries(overrides)])
        raise UsageError(
            f"MODEL={model} is no trained run of {folder} and no released network: {remedy}; 8 to "
            "16 digits of a run's fingerprint will do"
        )
    fingerprint, plain = checkpoint.described(found[0])
    was = cfg.restored(plain)
    at_default = was.dataset.cache == f"{was.paths.runs}/cache"
    cache = [f"dataset.cache={runs}/cache"] if at_default else []
    made = cfg.amended(was, [f"paths.runs={runs}", *cache, *overrides])
    if ignored := _ignored(was, made, overrides):
        raise UsageError(
            f"{ignored} says what {found[0].stem} was trained with, and is not what it was: leave "
            "it out, or leave MODEL out to audit another network"
        )
    if cfg.train_config_hash(made) != cfg.train_config_hash(was):
        raise UsageError(
            f"an override changes what {found[0].stem} ({fingerprint}) was trained from: leave "
            "MODEL out to audit another network"
        )
    return made


def _nearest(model: str, runs: Sequence[str], released: Sequence[str]) -> str:
    """The remedy for a name that is not there; of a released network the group may be missing."""
    ends = [name.rpartition("/")[2] for name in released]
    meant = next(iter(get_close_matches(model, ends, 1)), model)
    order = sorted(released, key=lambda name: not name.endswith(f"/{meant}"))
    every = "make list shows all runs, docs/networks.md tells of released networks"
    return did_you_mean(meant, [*runs, *order], every)


# What other settings are taken from when a configuration is composed, and a trained run's no more.
_TAKEN_FROM = ("theta", "precision.theta", "tucker", "scale")


def _ignored(was: Config, made: Config, overrides: Sequence[str]) -> str | None:
    """The first override that would change nothing, though it asks for another network."""
    for word in overrides:
        key, _, value = word.lstrip("+").partition("=")
        if not any(key == name or key.startswith(f"{name}.") for name in _TAKEN_FROM):
            continue
        if key == "theta" and _theta(was) == made.theta:
            continue
        if key == "theta" or attrgetter(key)(was) != attrgetter(key)(made):
            return f"{key}={value}"
    return None


def _theta(config: Config) -> float:
    """The one that the run's network has, whatever a composition's own says."""
    return config.defence.conv.theta if config.defence.conv else config.theta

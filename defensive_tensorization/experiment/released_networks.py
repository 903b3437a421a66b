"""A plan's network as it was released: weights of exactly its training, or none."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from torch import nn

from .. import config as cfg
from ..config import Config
from ..errors import UsageError
from ..released import Entry, Manifest, weights
from ..released import source as released_source
from ..released.manifest import FILE
from ..released.source import Source
from ..training import checkpoint
from .plan import Plan

OURS = ("released", "any")  # of exactly the same data; of whatever data, by configuration alone
log = logging.getLogger(__name__)


def manifest(config: Config) -> Manifest | None:
    """The list that `networks` names; None for networks=train, and where nothing is released."""
    return _at(config.networks, released_source.of_scale(config.scale.name))


def _at(named: str, ours: Path) -> Manifest | None:
    """ours: the repository's folder that is meant where `named` is no other."""
    check_named(named)
    if named == "train" or (named in OURS and not (ours / FILE).exists()):
        return None
    if named in OURS:
        return _read(str(ours))
    try:
        return _read(cfg.home(named, "networks"))
    except UsageError as error:
        raise UsageError(f"networks={named}: {error}") from error


def check_named(named: str) -> None:
    """Refuse a value of `networks` that is no word it knows, no URL and no folder."""
    words = ("train", *OURS)
    if named in words or "://" in named or Path(cfg.home(named, "networks")).is_dir():
        return
    near = get_close_matches(named, words, 1)
    raise UsageError(
        f"networks={named} is no folder: take {', '.join(words)}, or a folder or URL of released "
        f"networks{f'; did you mean {near[0]}?' if near else ''}"
    )


@cache
def _read(where: str) -> Manifest:
    return Manifest.at(Source(where))


def entry(p: Plan) -> Entry | None:
    """What is released of exactly this training, its configuration and its data."""
    listed = manifest(p.config)
    return listed.trained_as(p.weights_id) if listed else None


def released(p: Plan, network: nn.Module) -> Entry | None:
    """Load the weights released of this plan's training; None where it must be trained.

    Raises:
        UsageError: for weights that are not those of the manifest.
    """
    listed = manifest(p.config)
    if listed is None:
        return None
    found = listed.trained_as(p.weights_id)
    if found is None:
        _tell_of_others(p, listed)
        return None
    network.load_state_dict(weights(listed, found))
    if checkpoint.digest(network.state_dict()) != found.weights:
        raise UsageError(
            f"{listed.source.shown(found.file)} holds other weights than the manifest says "
            f"({found.weights}): fetch it again, or train with networks=train"
        )
    log.info("%s  released as %s; networks=train trains it", p.name, found.name)
    return found


def recipes(config: Config) -> set[str]:
    """The configurations of which a trained network is released."""
    listed = manifest(config)
    return {e.recipe for e in listed.entries.values()} if listed else set()


def of_other_data(config: Config) -> Entry | None:
    """With networks=any, what is released of this configuration, whatever it was trained on."""
    listed = manifest(config) if config.networks == "any" else None
    if listed is None:
        return None
    recipe = cfg.train_config_hash(config)
    return next((e for e in listed.entries.values() if e.recipe == recipe), None)


def trained_from(entry: Entry, overrides: Sequence[str]) -> Config:
    """The configuration of a released network's training.

    Where data and results lie is by default, or as the words paths.* and dataset.* of `overrides`
    say.
    """
    config = cfg.restored(entry.config)
    places = [word for word in overrides if word.lstrip("+").startswith(("paths.", "dataset."))]
    made = cfg.composed([f"dataset={config.dataset.name}", *places])
    config.dataset, config.paths = made.dataset, made.paths
    return config


def entries(overrides: Sequence[str]) -> dict[str, Entry]:
    """Every released network here: the repository's, and those that networks=... names."""
    told = [word.partition("=")[2] for word in overrides if word.startswith("networks=")]
    folders = sorted(str(folder) for folder in released_source.RESULTS.glob("*/networks"))
    found: dict[str, Entry] = {}
    for where in [*(each for each in told if each not in ("train", *OURS)), *folders]:
        with suppress(UsageError):  # what cannot be read is not offered
            found = {**_read(where).entries, **found}
    return found


def configured(name: str, overrides: Sequence[str]) -> Config:
    """The configuration that evaluates a released network; UsageError where it trains another."""
    named = [word for word in overrides if word.startswith("networks=")]
    listed = _at(cfg.composed(named).networks, released_source.holding(name))
    if listed is None:
        raise UsageError(f"MODEL={name}: no network is released here, name a trained run")
    entry = listed.entry(name)
    made = cfg.amended(trained_from(entry, overrides), overrides)
    if cfg.train_config_hash(made) != entry.recipe:
        raise UsageError(
            f"an override changes what {name} was trained from: leave MODEL out to audit another "
            "network"
        )
    return made


def _tell_of_others(p: Plan, listed: Manifest) -> None:
    recipe = cfg.train_config_hash(p.config)
    for each in listed.entries.values():
        if each.recipe == recipe:
            log.info(
                "%s  is trained: %s was released of other data, %s (%s); networks=any takes it",
                *(p.name, each.name, each.data, each.data_digest),
            )


def there(p: Plan) -> bool:
    """Whether the plan's network need not be trained."""
    return p.checkpoint.exists() or entry(p) is not None


def titled(source: Source) -> str:
    """The folder of released networks as a caption names it."""
    folder, ours = Path(source.at), released_source.RESULTS
    return f"results/{folder.relative_to(ours)}" if folder.is_relative_to(ours) else str(source)

"""The configuration: its schema, its checks, and what in it decides a network's weights.

With run.py, the only room that knows Hydra and OmegaConf.
"""

from .autocast import others, told
from .build import OURS, build, construct, named, persons_source
from .check import checked, restored
from .compose import amended, composed, jobs, launched, plane_of
from .epsilon import parse_epsilon
from .files import CONFIGS, PAPER, experiments
from .flags import flags, home, in_one_line
from .identity import (
    base_of,
    batchnorm,
    digest,
    identity,
    needed_by,
    plain,
    run_id,
    surrogate_config,
    train_config_hash,
    trained_name,
)
from .outside import arguments, as_words, importable, is_outside, told_outside
from .randomness import draws_outside, has_random_kernels, has_randomness, is_random
from .rounds import rounds
from .schema import Config

__all__ = [
    "CONFIGS",
    "OURS",
    "PAPER",
    "Config",
    "amended",
    "arguments",
    "as_words",
    "base_of",
    "batchnorm",
    "build",
    "checked",
    "composed",
    "construct",
    "digest",
    "draws_outside",
    "experiments",
    "flags",
    "has_random_kernels",
    "has_randomness",
    "home",
    "identity",
    "importable",
    "in_one_line",
    "is_outside",
    "is_random",
    "jobs",
    "launched",
    "named",
    "needed_by",
    "others",
    "parse_epsilon",
    "persons_source",
    "plain",
    "plane_of",
    "restored",
    "rounds",
    "run_id",
    "surrogate_config",
    "told",
    "told_outside",
    "train_config_hash",
    "trained_name",
]

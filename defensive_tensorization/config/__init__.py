"""The configuration: its schema, its checks, and what in it decides a network's weights.

With run.py, the only room that knows Hydra and OmegaConf.
"""

from .build import build, construct
from .check import CONFIGS, checked, composed, parse_epsilon, refusal
from .identity import base_of, batchnorm, digest, plain, recipe, run_id
from .schema import Config

__all__ = [
    "CONFIGS",
    "Config",
    "base_of",
    "batchnorm",
    "build",
    "checked",
    "composed",
    "construct",
    "digest",
    "parse_epsilon",
    "plain",
    "recipe",
    "refusal",
    "run_id",
]

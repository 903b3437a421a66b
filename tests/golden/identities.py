"""The hashes of every method of every experiment at cpu scale, and of what no experiment sets."""

from pathlib import Path
from typing import Any

import yaml

from defensive_tensorization import config as cfg
from defensive_tensorization.config import CONFIGS, Config, composed
from defensive_tensorization.experiment.evaluation_config import eval_config_hash
from defensive_tensorization.experiment.plan import attacks

FILE = Path(__file__).with_name("identities.jsonl")
SCALE = "scale=cpu scale.autocast=bfloat16"
METHODS = {
    path.stem: list(yaml.safe_load(path.read_text())["experiment"]["columns"])
    for path in sorted((CONFIGS / "experiment").glob("*.yaml"))
}
EXPERIMENTS = [
    f"experiment={experiment} {SCALE} method={method}"
    for experiment, methods in METHODS.items()
    for method in methods
]
FLOAT32 = "train.autocast=float32 eval.autocast=float32"
OTHERS = [
    f"dataset=digits theta=0.9 {FLOAT32}",
    f"dataset=digits theta=0.9 seed=3 train.init=scratch {FLOAT32}",
    f"dataset=digits theta=0.8 tucker.rank=0.5 tucker.rescale=true tucker.min_dim=1 {FLOAT32}",
    f"dataset=digits theta=0.9 attack.knowledge=frozen eval.draws=1 {FLOAT32}",
    f"dataset=digits theta=0.9 attack.knowledge=transfer {FLOAT32}",
    f"dataset=digits theta=0.9 attack.knowledge=blackbox {FLOAT32}",
    f"dataset=digits theta=0.9 attack=[square,autoattack] eval.draws=30 {FLOAT32}",
    f"dataset=digits defence=sap theta=1 model=convnet {FLOAT32}",
    "experiment=table1 method=ours_0.9 scale=paper scale.autocast=float32",
    "experiment=table4 method=ours_0.99 scale=paper scale.autocast=float32",
    "experiment=table2 method=ours_0.95_pgd scale=fast scale.autocast=bfloat16",
    "experiment=table5 method=ours_0.9 scale=paper scale.autocast=float32",
    "dataset=synthetic_tones model=logmel train=speech_commands_tuned defence=none theta=1 "
    f"{FLOAT32}",
]
NOWHERE = "0123456789abcdef"  # in the place of a fingerprint, which depends on the data


def identity(config: Config) -> dict[str, Any]:
    """The hashes of a configuration: of its weights, of those that it needs, of each row."""
    base = cfg.base_of(config)
    return {
        "recipe": cfg.train_config_hash(config),
        "base": base and cfg.train_config_hash(base),
        "twin": cfg.train_config_hash(cfg.surrogate_config(config)),
        "run_id": cfg.run_id(config, NOWHERE),
        "protocols": [eval_config_hash(config, attack) for attack in (None, *attacks(config))],
    }


def found() -> dict[str, dict[str, Any]]:
    """Every identity by the words of its command line."""
    return {words: identity(composed(words.split())) for words in [*EXPERIMENTS, *OTHERS]}

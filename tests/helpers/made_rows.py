"""Made-up rows of a real configuration, for tests of what picks rows by it."""

from defensive_tensorization import config as cfg
from defensive_tensorization.config import Config, composed
from defensive_tensorization.experiment.evaluation_config import eval_config_hash
from defensive_tensorization.experiment.plan import attacks
from defensive_tensorization.results.row import Row
from helpers.fake_rows import row

SMALL = [
    *("scale=smoke", "attack=[fgsm]", "eval.epsilon=[8]", "logger=none"),
    *("eval.runs=2", "eval.draws=1"),
]


def made_up(
    method: str, accuracy: float, *overrides: str, seeds: int = 2, **changes: object
) -> list[Row]:
    """The rows that a run of quickstart's method would leave, clean and under FGSM at 8."""
    config = composed(["experiment=quickstart", *SMALL, f"method={method}", *overrides])
    return of(config, accuracy, seeds=seeds, **changes)


def of(config: Config, accuracy: float, *, seeds: int = 2, **changes: object) -> list[Row]:
    """Clean and under every attack."""
    digest = str(changes.get("data_digest", "d" * 16))
    fingerprint = cfg.digest([cfg.train_config_hash(config), digest], 16)
    return [
        row(
            run_id=cfg.run_id(config, fingerprint),
            fingerprint=fingerprint,
            recipe=cfg.train_config_hash(config),
            protocol=eval_config_hash(config, attack),
            scale=config.scale.name,
            theta=config.theta,
            attack=attack.name if attack else "clean",
            epsilon=attack.epsilon if attack else 0.0,
            epsilon_absolute=attack.radius if attack else 0.0,
            eval_seed=seed,
            clean_accuracy=0.9,
            robust_accuracy=accuracy if attack else 0.9,
            **changes,
        )
        for attack in (None, *attacks(config))
        for seed in range(seeds)
    ]

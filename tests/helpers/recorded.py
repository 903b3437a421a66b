"""A small network trained, evaluated and rendered twice: recorded by W&B offline, and not."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from defensive_tensorization.config import Config, composed
from defensive_tensorization.run import run
from defensive_tensorization.tables.render import render
from defensive_tensorization.tracking import FINISHED
from helpers.wandb_log import Logged, logged

SMALL = (
    *(
        "experiment=quickstart",
        "model=resnet18",
        "model.width=2",
        "model.reference=16",
        "train.epochs=2",
    ),
    *("train.init_epochs=null", "train.lr_scale=0.1", "eval.draws=1"),
    *("train.images=64", "train.batch_size=32", "eval.images=6", "eval.runs=1"),
    *("attack=[fgsm,pgd]", "eval.epsilon=[2,4]", "eval.batch_size=3", "device=cpu"),
)


@dataclass(frozen=True)
class Recorded:
    config: Config
    runs: Path
    plain: Path  # the same runs folder without W&B
    logs: list[Logged]  # in the order in which they were made

    def of(self, job: str) -> list[Logged]:
        return [log for log in self.logs if log.job == job]


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Made by the first of several test processes; the others read it."""
    base = tmp_path_factory.getbasetemp()
    where = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "recorded"
    where.mkdir(exist_ok=True)
    data, out = f"dataset.cache={where / 'data'}", f"paths.results={where / 'results'}"
    words = {
        name: [*SMALL, data, out, f"paths.runs={where / name}", f"logger={logger}"]
        for name, logger in (("runs", "wandb"), ("plain", "none"))
    }
    configs = {
        name: composed([*each, "method=ours_0.9_same_epochs"]) for name, each in words.items()
    }
    with FileLock(where / "lock"):
        if not (where / "made").exists():
            make(where, configs, words["runs"])
            (where / "made").touch()
    directories = sorted((where / "runs" / "wandb").glob("wandb/offline-run-*"))
    directories.sort(key=lambda made: (made / FINISHED).stat().st_mtime_ns)
    return Recorded(
        configs["runs"], where / "runs", where / "plain", [logged(each) for each in directories]
    )


def make(where: Path, configs: dict[str, Config], words: list[str]) -> None:
    """Run both configurations; render the one that is recorded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        for variable in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
            patch.setenv(variable, str(where / "cache"))
        for name, config in configs.items():
            run(config, "python -m defensive_tensorization")
            if name == "runs":
                render("quickstart", words)

"""A checkpoint as a training leaves it, of any configuration and without one."""

from pathlib import Path

import torch

from defensive_tensorization import config as cfg
from defensive_tensorization.config import Config


def saved(folder: Path, name: str, config: Config, epochs: int, seconds: float = 3.0) -> None:
    line = {"loss": 1.0, "seconds": seconds, "accuracy": 0.614}
    state = {
        "config": cfg.plain(config),
        "hardware": "an abacus",
        "progress": {
            "epoch": epochs,
            "network": {"w": torch.zeros(100)},
            "history": [line | {"epoch": i + 1} for i in range(epochs)],
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / f"{name}.pt")

"""Made-up panels: a loss that rises along the gradient, for tests of files, figures and pages."""

from typing import Any

import numpy as np

from defensive_tensorization.report.readings import Figure
from defensive_tensorization.results.landscape_panels import About, Panel


def about(**changes: Any) -> About:
    fields: dict[str, Any] = {
        "run_id": "cifar10-resnet18-real-theta0.9-seed0-abcd",
        "fingerprint": "f" * 16,
        "recipe": "recipe",
        "protocol": "protocol",
        "weights": "w" * 16,
        "trained_commit": "89abcdef",
        "plane": "cifar10-resnet18-real-theta1-seed0-ef01",
        "plane_weights": "v" * 16,
        "direction": "gradient",
        "gradient_length": 0.25,
        "scale": "cpu",
        "dataset": "cifar10",
        "data": "CIFAR-10, JPEG q75",
        "data_digest": "d" * 16,
        "model": "resnet18",
        "width": 16,
        "precision": "real",
        "defence": "tensorization",
        "theta": 0.9,
        "batchnorm": "recalibrated",
        "train_seed": 0,
        "epochs": 12,
        "image": 3,
        "label": "frog",
        "predictions": {"frog": 1},
        "draws": 1,
        "seed": 0,
        "commit": "01234567",
        "dirty": False,
        "versions": {"torch": "2.11.0"},
        "hardware": "2 cores of a CPU",
        "seconds": 30.0,
        "command": "python -m defensive_tensorization experiment=figure2",
    }
    return About(**(fields | changes))


def panel(seed: int = 0, slope: float = 8.0, points: int = 11, **changes: Any) -> Panel:
    """loss = softplus(slope a + b - 1), lost where it exceeds ln 2."""
    made = np.random.default_rng(seed)
    ticks = np.linspace(-0.5, 0.5, points)
    score = slope * ticks[None, :] + ticks[:, None] - 1
    directions = made.uniform(-1, 1, (2, 3, 4, 4))
    many = changes.get("draws", 1) > 1
    arrays = {
        "ticks": ticks,
        "image": made.uniform(0, 1, (3, 4, 4)),
        "directions": directions / np.abs(directions).max((1, 2, 3), keepdims=True),
        "loss": np.log1p(np.exp(score)),
        "spread": np.full((points, points), 0.125 * many),
        "margin": -score,
    }
    return Panel(
        about(**changes), **{name: array.astype(np.float32) for name, array in arrays.items()}
    )


def figure(found: dict[tuple[str, str], Panel], *, fixed: bool = False) -> Figure:
    return Figure("figure9", "Figure 9: A title", ("θ=1", "θ=0.9"), fixed, 32.0, 1 / 255, found)

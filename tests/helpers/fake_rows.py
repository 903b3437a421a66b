"""Made-up result rows for tests of the results and report rooms."""

from typing import Any

from defensive_tensorization.report.tables import Column, Table
from defensive_tensorization.results.row import Row

COLUMNS = (
    Column("Baseline", "baseline", "recipe-a"),
    Column("Ours θ = 0.95", "ours_0.95", "recipe-b"),
    Column("Ours θ = 0.8", "ours_0.8", "recipe-c"),
)
LINES = (("clean", 0.0), ("fgsm", 2.0), ("fgsm", 8.0), ("pgd", 2.0), ("pgd", 8.0))
TABLE = Table("table1", "Table 1: Real-valued network on CIFAR-10", COLUMNS, LINES)


def row(**changes: Any) -> Row:
    fields: dict[str, Any] = {
        "run_id": "cifar10-resnet18-real-theta0.95-seed0-abcd",
        "fingerprint": "f" * 16,
        "recipe": "recipe-a",
        "protocol": "p" * 12,
        "scale": "cpu",
        "dataset": "cifar10",
        "data": "CIFAR-10, JPEG q75 (folder)",
        "data_digest": "d" * 16,
        "model": "resnet18",
        "width": 16,
        "precision": "real",
        "defence": "tensorized",
        "theta": 0.95,
        "batchnorm": "frozen",
        "train_seed": 0,
        "epochs": 12,
        "attack": "fgsm",
        "epsilon": 8.0,
        "epsilon_absolute": 8 / 255,
        "steps": 1,
        "step_size": 8 / 255,
        "random_start": False,
        "draws": "fresh per step and per batch",
        "n": 1000,
        "subset": "1,000 test images, permutation seed 0",
        "eval_seed": 0,
        "clean_accuracy": 0.8,
        "robust_accuracy": 0.5,
        "commit": "0123456789abcdef",
        "dirty": False,
        "versions": {"torch": "2.11.0", "foolbox": "3.3.4"},
        "hardware": "2 cores of a CPU",
        "seconds": 10.0,
        "command": "python -m defensive_tensorization",
    }
    fields |= changes
    fields.setdefault("random", fields["theta"] < 1 and fields.get("sketch", True))
    return Row(**fields)


def table_rows(seeds: int = 3, **changes: Any) -> list[Row]:
    """All rows of TABLE; the accuracy falls with epsilon and differs by column and seed."""
    rows = []
    for place, column in enumerate(COLUMNS):
        for attack, epsilon in LINES:
            for seed in range(seeds):
                clean = 0.9 - 0.05 * place
                fall = (0.06 if attack == "pgd" else 0.04) * epsilon / (1 + place)
                rows.append(
                    row(
                        run_id=f"run-{place}",
                        fingerprint=f"network-{place}",
                        recipe=column.recipe,
                        protocol=f"{attack}-{epsilon:g}",
                        theta=(1.0, 0.95, 0.8)[place],
                        attack=attack,
                        epsilon=epsilon,
                        epsilon_absolute=epsilon / 255,
                        steps={"clean": 0, "fgsm": 1, "pgd": int(1.25 * epsilon)}[attack],
                        step_size=1 / 255 if attack == "pgd" else epsilon / 255,
                        random_start=attack == "pgd",
                        eval_seed=seed,
                        clean_accuracy=clean,
                        robust_accuracy=clean - fall + 0.01 * seed * (attack != "clean"),
                        **changes,
                    )
                )
    return rows

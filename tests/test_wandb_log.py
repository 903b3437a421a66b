"""What W&B is shown of the work: compared with the rows, read back from real offline runs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.fake_rows import row
from helpers.recorded import Recorded

from defensive_tensorization import tracking
from defensive_tensorization.config import composed
from defensive_tensorization.experiment import wandb_log
from defensive_tensorization.results import store
from defensive_tensorization.results.row import Row


class Recorder(tracking.Run):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[float | None, dict[str, float]]] = []
        self.final: dict[str, object] = {}

    def log(self, metrics, at=None) -> None:
        self.points.append((at, dict(metrics)))

    def summary(self, values) -> None:
        self.final |= values


def rows_of(folder: Path) -> list[Row]:
    return store.read([folder / "rows"])


def test_recording_changes_no_row(recorded: Recorded) -> None:
    def facts(folder: Path) -> list[Row]:
        return [replace(each, seconds=0.0) for each in rows_of(folder)]

    assert len(facts(recorded.runs)) == 5
    assert facts(recorded.runs) == facts(recorded.plain)
    assert not (recorded.plain / "wandb").exists() and not (recorded.plain / "examples").exists()


def test_every_step_of_the_work_is_a_run(recorded: Recorded) -> None:
    assert [log.job for log in recorded.logs] == ["train", "train", "eval", "report"]
    assert [log.axis for log in recorded.logs] == ["epoch", "epoch", "epsilon", ""]
    assert {log.exit_code for log in recorded.logs} == {0}
    assert [log.config["label"] for log in recorded.logs[:3]] == ["θ=1", "θ=0.9", "θ=0.9"]
    assert {log.config["setting"] for log in recorded.logs} == {"digits at smoke scale"}


def test_training_curves_stand_over_epochs(recorded: Recorded) -> None:
    for log in recorded.of("train"):
        assert [point["epoch"] for point in log.points] == [1, 2]
        assert all(set(point) == {"epoch", *wandb_log.CURVES} for point in log.points)
        total = sum(point["seconds"] for point in log.points)
        assert log.final[wandb_log.TRAINED_S] == pytest.approx(total)


def test_an_evaluation_is_its_rows_means(recorded: Recorded) -> None:
    (log,) = recorded.of("eval")
    found = {(r.attack, r.epsilon): r.robust_accuracy for r in rows_of(recorded.runs)}
    points = [point for point in log.points if wandb_log.curve("pgd") in point]
    assert [point["epsilon"] for point in points] == [0, 2, 4]
    for point in points:
        for attack in ("fgsm", "pgd"):
            expected = found.get((attack, point["epsilon"]), found["clean", 0.0])
            assert point[wandb_log.curve(attack)] == expected
    assert log.final[wandb_log.CLEAN] == found["clean", 0.0]
    assert log.final[wandb_log.cell("pgd", 4.0)] == found["pgd", 4.0]
    assert {wandb_log.EXAMPLES, wandb_log.EVALUATION} <= log.names


def test_the_lineage_joins_data_to_table(recorded: Recorded) -> None:
    base, ours = recorded.of("train")
    (scored,), (report,) = recorded.of("eval"), recorded.of("report")
    assert base.digests("used", "dataset") == ours.digests("used", "dataset") != {}
    assert ours.digests("used", "checkpoint") == base.digests("made", "checkpoint") != {}
    assert scored.digests("used", "checkpoint") == ours.digests("made", "checkpoint") != {}
    assert report.digests("used", "rows") == scored.digests("made", "rows") != {}
    assert list(report.digests("made", "table")) == ["quickstart-digits-smoke"]
    assert base.digests("made", "checkpoint") != ours.digests("made", "checkpoint")


def test_checkpoints_are_not_copied(recorded: Recorded) -> None:
    made = [r for log in recorded.logs for _, r in log.artifacts if r["type"] == "checkpoint"]
    contents = [entry for each in made for entry in each["manifest"]["contents"]]
    assert {Path(entry["ref"].removeprefix("file://")).parent for entry in contents} == {
        recorded.runs / "checkpoints"
    }
    weights = {path.stat().st_size for path in (recorded.runs / "checkpoints").glob("*.pt")}
    kept = [path for path in recorded.runs.parent.rglob("*") if path.is_file()]
    assert not [p for p in kept if p.stat().st_size in weights and p.suffix != ".pt"]
    assert json.loads(made[0]["metadata"])["epochs"] == 2


def test_a_table_and_its_figure_do_not_share_a_name(recorded: Recorded) -> None:
    (report,) = recorded.of("report")
    assert report.final["quickstart._type"] == "table-file"
    assert report.final["quickstart_figure._type"] == "image-file"


def test_means_over_seeds_by_hand() -> None:
    seen = Recorder()
    made = [
        row(attack=attack, epsilon=epsilon, eval_seed=seed, robust_accuracy=value, seconds=2.5)
        for attack, epsilon, values in (
            ("clean", 0.0, (0.75, 0.25)),
            ("fgsm", 0.032, (0.5, 0.0)),
            ("pgd", 0.063, (0.125, 0.375)),
        )
        for seed, value in enumerate(values)
    ]
    wandb_log.scores(seen, made)
    assert seen.points == [
        (0.0, {"robust/fgsm": 0.5, "robust/pgd": 0.5}),
        (0.032, {"robust/fgsm": 0.25}),
        (0.063, {"robust/pgd": 0.25}),
    ]
    assert seen.final == {
        "clean_accuracy": 0.5,
        "eval_seconds": 15.0,
        "robust_at/fgsm_0_032": 0.25,
        "robust_at/pgd_0_063": 0.25,
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["method=baseline"], "dense"),
        (["theta=0.95"], "θ=0.95"),
        (["precision=xnor", "theta=0.9"], "xnor θ=0.9"),
        (["method=ours_0.9_omniscient"], "θ=0.9, omniscient"),
        (["dataset=cifar10", "defence=adversarial_pgd"], "adversarial_pgd"),
        (["dataset=cifar10", "defence=tensorization_pgd", "theta=0.9"], "θ=0.9 tensorization_pgd"),
    ],
)
def test_a_network_in_a_legend(words: list[str], expected: str) -> None:
    assert wandb_log.label(composed(words)) == expected

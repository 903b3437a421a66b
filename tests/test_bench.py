"""What `make bench` computes with its times, and the guard over its ratios; not the times."""

import io
import json
import math
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import linregress, ttest_rel

from defensive_tensorization.experiment import components

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
sys.path.append(str(SCRIPTS))

import bench  # noqa: E402
import bench_attack  # noqa: E402
import bench_check  # noqa: E402
import bench_eot  # noqa: E402
import bench_growth  # noqa: E402
import bench_reduced  # noqa: E402
import profile_steps  # noqa: E402

CPU = torch.device("cpu")

# --- the guard --------------------------------------------------------------------------------


def record(**ratios: tuple[float, float]) -> dict[str, Any]:
    told = {name: {"minimum": low, "median": mid} for name, (low, mid) in ratios.items()}
    return {"circumstances": "made up", "quick": False, "ratios": told}


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str


def check(tmp_path: Path, new: Any, old: Any) -> Ended:
    for folder, made in (("new", new), ("old", old)):
        (tmp_path / folder).mkdir()
        if made is not None:
            text = made if isinstance(made, str) else json.dumps(made)
            (tmp_path / folder / "attack.json").write_text(text)
    return guard(tmp_path)


def guard(folder: Path) -> Ended:
    """The script within this process, on `new` and `old` there."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["bench_check.py", str(folder / "new"), str(folder / "old")])
        try:
            bench_check.main()
            code = 0
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Ended(code, out.getvalue(), err.getvalue())


@pytest.mark.parametrize(
    ("now", "code", "said"),
    [
        ({"a / b": (1.2, 1.2)}, 0, "no ratio is over 25% worse"),
        ({"a / b": (1.24, 1.24)}, 0, "as before a / b: 1.00 to 1.24 (+24%)"),
        ({"a / b": (1.26, 1.27)}, 1, "WORSE     a / b: 1.00 to 1.26 (+26%)"),
        ({"a / b": (1.9, 1.1)}, 0, "a / b: 1.00 to 1.90 (+10%)"),  # noise in the minimum alone
        ({"a / b": (0.5, 0.6)}, 0, "better    a / b: 1.00 to 0.50"),
        ({"c / d": (1.0, 1.0)}, 1, "missing   a / b: not measured anew"),
    ],
)
def test_a_ratio_a_quarter_worse_fails(
    now: dict[str, tuple[float, float]], code: int, said: str, tmp_path: Path
) -> None:
    done = check(tmp_path, record(**now), record(**{"a / b": (1.0, 1.0)}))
    assert done.returncode == code, done.stderr
    assert said in done.stdout


def test_accuracies_that_agree_no_longer_fail(tmp_path: Path) -> None:
    now = record(a=(1, 1)) | {"same_accuracy": False}
    done = check(tmp_path, now, record(a=(1, 1)) | {"same_accuracy": True})
    assert done.returncode == 1
    assert "DIFFERS   accuracies that agreed do so no longer" in done.stdout
    (tmp_path / "again").mkdir()
    assert check(tmp_path / "again", now, now).returncode == 0  # committed, and said there


def test_a_part_that_was_not_made_anew_fails(tmp_path: Path) -> None:
    """Of this device; what a GPU measured waits for a GPU."""
    for folder, names in (("new", ["b"]), ("old", ["a", "b", "b_gpu"])):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.json").write_text(json.dumps(record(x=(1, 1))))
    done = guard(tmp_path)
    assert done.returncode == 1, done.stderr
    assert "a.json\n  missing   a.json: not measured anew" in done.stdout
    assert "gpu" not in done.stdout


@pytest.mark.parametrize(
    ("new", "old", "said"),
    [
        (record(a=(1, 1)) | {"quick": True}, record(a=(1, 1)), "attack.json is of a --quick run"),
        (None, record(a=(1, 1)), "have no ratios in common: run make bench"),
        (record(a=(1, 1)), {"timings": []}, "have no ratios in common"),
        ("{", record(a=(1, 1)), "attack.json cannot be read"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    new: Any, old: Any, said: str, tmp_path: Path
) -> None:
    done = check(tmp_path, new, old)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


# --- times, ratios, slopes --------------------------------------------------------------------


def test_contenders_take_turns() -> None:
    calls: list[str] = []
    steps = {name: lambda name=name: calls.append(name) for name in "ab"}
    taken = bench.interleaved(steps, CPU, 0.0, warm=1, rounds=3)
    assert calls == ["a", "b", *["a", "b"] * 3]
    assert {name: len(all_) for name, all_ in taken.items()} == {"a": 3, "b": 3}


def test_a_ratio_is_of_minima_and_of_medians() -> None:
    made = bench.over({"a": [3, 2, 9], "b": [4, 8, 5]}, "a", "b", 0.5, "x: ")
    assert made == bench.Ratio("x: a / b", 2 / 4, 3 / 5, 0.5)
    assert bench.table([made])[-1] == "| x: a / b | 0.50 (0.60) | 2.00 | at most 0.50 | met |"


def test_no_gpu_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_attack.py", "--device", "cuda"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        bench.options("")
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: torch sees no GPU: bench-gpu needs one")


def test_the_interval_between_attacks_takes_batches_as_units() -> None:
    """A batch whose draw is lucky moves all its images together."""
    made = torch.Generator().manual_seed(0)
    mine = [torch.rand(50, generator=made) < share for share in (0.1, 0.9, 0.4, 0.5)]
    theirs = [torch.rand(50, generator=made) < share for share in (0.6, 0.2, 0.5, 0.3)]
    expected = ttest_rel(*([float(b.float().mean()) for b in each] for each in (mine, theirs)))
    found = bench_attack.difference(mine, theirs)
    np.testing.assert_allclose(found, expected.confidence_interval(0.95), rtol=1e-6)
    assert bench_attack.difference(mine, mine) == (0, 0)


def test_every_batch_of_ours_has_draws_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    p = bench_attack.plan("ours at 0.9", 4, 1, CPU)
    seeds = []

    def answers(*given: Any) -> Any:
        seeds.append(given[4])
        return SimpleNamespace(correct=np.ones(len(given[2])))

    monkeypatch.setattr(bench_attack, "answers", answers)
    attack = bench_attack.ours(p, components.network(p))
    assert len(attack(bench_attack.some(p, 0, 3))) == 3
    attack(bench_attack.some(p, 3, 3))
    assert seeds == [0, 1]


@given(st.floats(-1, 3), st.floats(1e-4, 10))
def test_a_power_law_is_found(slope: float, once: float) -> None:
    found = bench_growth.fit({n: once * n**slope for n in (8, 16, 32, 64)})
    assert found.slope == pytest.approx(slope, abs=1e-9)
    assert found.doubling == pytest.approx(2**slope)
    assert found.residual == pytest.approx(0, abs=1e-9)


def test_a_slope_and_its_residual_are_scipy_s() -> None:
    taken = {1.0: 3.0, 2.0: 5.0, 4.0: 14.0, 8.0: 17.0}
    x, y = np.log(list(taken)), np.log(list(taken.values()))
    line = linregress(x, y)
    missed = math.sqrt(np.mean((y - line.intercept - line.slope * x) ** 2))
    found = bench_growth.fit(taken)
    assert found.slope == pytest.approx(line.slope)
    assert found.residual == pytest.approx(math.expm1(missed))


# --- the profile ------------------------------------------------------------------------------


def event(name: str, own: float = 0, at: float = 0, nr: int = -1, under: Any = None) -> Any:
    times = SimpleNamespace(start=at)
    return SimpleNamespace(
        name=name, self_cpu_time_total=own, sequence_nr=nr, cpu_parent=under, time_range=times
    )


def test_an_operation_belongs_to_the_part_that_called_it() -> None:
    """By hand: forward of a layer (20) with its kernel (10), its backward (30), a step (5)."""
    layer = event("part: convolution", own=1, at=0)
    kernel = event("part: reconstruction", own=1, at=1, under=layer)
    product = event("aten::mm", own=10, at=2, nr=7, under=kernel)
    early = event("aten::detach", own=0, at=1.5, nr=8, under=kernel)  # makes no node
    conv = event("aten::conv2d", own=20, at=3, nr=8, under=layer)
    engine = [
        event("autograd::engine::evaluate_function: A", own=1, at=9, nr=8),
        event("autograd::engine::evaluate_function: B", own=2, at=10, nr=7),
    ]
    back = [
        event("aten::convolution_backward", 20, 9, 8, engine[0]),
        event("mm", 7, 10, 7, engine[1]),
    ]
    update = event("aten::add_", own=5, at=12)
    every = [layer, kernel, product, early, conv, *engine, *back, update]
    found = profile_steps.shares(every, 100, "the rest")
    assert found == {"reconstruction": 19, "convolution": 41, "the rest": 5, "Python": 35}


@pytest.mark.filterwarnings("ignore:.*Profiler clears events")
def test_a_real_profile_sums_to_100() -> None:
    found = profile_steps.steps("theta=0.9", 4, 4, "float32", CPU)
    parts = ("reconstruction", "convolution", "BatchNorm", "Python")
    for each in found.values():
        assert sum(each.values()) == pytest.approx(100)
        assert min(each.values()) >= 0
        assert min(each[part] for part in parts) > 0.5
    assert {"data", "loss and optimizer"} <= found["a training step"].keys()
    assert "attack arithmetic" in found["an attack step"]
    assert [line.split()[0] for line in profile_steps.table(found)[1:3]] == list(parts[:2])


@pytest.mark.slow
@pytest.mark.parametrize("part", ["startup", "training", "attack", "eot", "growth", "busy"])
def test_every_part_runs_in_small(part: str, tmp_path: Path) -> None:
    words = [sys.executable, str(SCRIPTS / f"bench_{part}.py"), "--quick", "--out", str(tmp_path)]
    subprocess.run(words, check=True, capture_output=True)
    made = json.loads((tmp_path / f"{part}.json").read_text())
    assert made["quick"] and made["ratios"]
    assert all(value > 0 for each in made["ratios"].values() for value in each.values())
    assert (tmp_path / f"{part}.md").read_text().startswith("# ")


def test_counts_of_recalibrated_batchnorm_by_hand() -> None:
    """128 reference images and 16 under attack, each of these twice; 128 and twice 128 to 256."""
    (told,) = bench_eot.counts(16)
    assert f"the reference is {100 * 128 / 160:.0f}%" in told and "costs 1.50 of one" in told


# --- the guard of every change ----------------------------------------------------------------


def test_a_change_is_held_against_the_last_kept_of_its_precision(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    assert bench_reduced.last("float32", path) == {}
    bench_reduced.keep([bench.Ratio("a / b", 1.0, 1.0)], "float32", path)
    bench_reduced.keep([bench.Ratio("a / b", 9.0, 9.0)], "bfloat16", path)
    bench_reduced.keep([bench.Ratio("a / b", 2.0, 3.0)], "float32", path)
    before = bench_reduced.last("float32", path)
    assert before == {"a / b": (2.0, 3.0)}

    def worse(minimum: float, median: float, name: str = "a / b") -> list[str]:
        return bench_reduced.worse([bench.Ratio(name, minimum, median)], before)

    assert worse(2.6, 3.9) == ["a / b: 2.00 (3.00) to 2.60 (3.90)"]
    assert worse(2.6, 3.6) == []  # noise in one of them alone
    assert worse(9.0, 9.0, "c / d") == []  # nothing to hold it against
    assert len(path.read_text().splitlines()) == 4

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from helpers.fake_rows import row
from hypothesis import given
from hypothesis import strategies as st

from defensive_tensorization.errors import UsageError
from defensive_tensorization.results.row import Row, summarise


def test_key_is_weights_protocol_and_seed() -> None:
    assert row(fingerprint="w", protocol="p", eval_seed=3).key == "w/p/3"


def test_json_round_trip_on_one_line() -> None:
    one = row(data="naïve\ntitle", epsilon=0.008)
    assert "\n" not in one.to_json()
    assert Row.from_json(one.to_json(), "here:1") == one


def test_integers_are_accepted_where_a_float_is_meant() -> None:
    text = json.dumps(asdict(row()) | {"epsilon": 8})
    assert isinstance(Row.from_json(text, "here:1").epsilon, float)


@pytest.mark.parametrize("value", [1.01, -0.1, 71.2, float("nan")])
def test_accuracy_is_a_fraction(value: float) -> None:
    with pytest.raises(ValueError, match="robust_accuracy must be a fraction"):
        row(robust_accuracy=value)


def test_summary_by_hand() -> None:
    rows = [row(eval_seed=s, robust_accuracy=a) for s, a in enumerate((0.1, 0.2, 0.6))]
    found = summarise(rows)
    # deviations -0.2, -0.1, 0.3: squares sum to 0.14, over 3 - 1 seeds
    assert found.robust_mean == pytest.approx(0.3)
    assert found.robust_std == pytest.approx(0.07**0.5)
    assert found.clean_mean == pytest.approx(0.8)
    assert (found.n, found.seeds) == (1000, 3)


def test_one_seed_has_no_deviation() -> None:
    assert summarise([row()]).robust_std is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_summary_agrees_with_numpy(values: list[float]) -> None:
    numpy = pytest.importorskip("numpy")
    found = summarise([row(eval_seed=i, robust_accuracy=a) for i, a in enumerate(values)])
    assert found.robust_mean == pytest.approx(numpy.mean(values), abs=1e-12)
    assert found.robust_std == pytest.approx(numpy.std(values, ddof=1), abs=1e-9)


@pytest.mark.parametrize(
    "change", [{"fingerprint": "other"}, {"protocol": "other"}, {"weights": "other"}, {}]
)
def test_summary_never_mixes(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="cannot be averaged|occurs twice"):
        summarise([row(), row(**change)])


def test_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; import defensive_tensorization.results.row; "
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_row_from_before_the_weights_were_kept_is_read() -> None:
    record = json.loads(row(weights="w", trained_commit="c").to_json())
    assert Row.from_json(json.dumps(record), "here") == row(weights="w", trained_commit="c")
    del record["weights"], record["trained_commit"]
    assert Row.from_json(json.dumps(record), "here") == row()


def test_a_row_keeps_how_far_gradients_agree_or_that_nobody_asked() -> None:
    for cosine, images in ((0.25, 64), (1, 8), (None, 0)):
        made = row(gradient_cosine=cosine, gradient_images=images)
        assert Row.from_json(made.to_json(), "here") == made
    record = json.loads(row().to_json())
    del record["gradient_cosine"], record["gradient_images"]  # of an older version
    assert Row.from_json(json.dumps(record), "here") == row()
    with pytest.raises(UsageError, match="here: gradient_cosine must be float, got 'high'"):
        Row.from_json(json.dumps(record | {"gradient_cosine": "high"}), "here")


@pytest.mark.parametrize(
    ("draws", "random"),
    [
        ("none: deterministic network", False),
        ("none: theta = 1 in attack and scoring", False),
        ("none for the attack (theta = 1); a fresh one per batch of 500 for scoring", True),
        ("one per batch of 500, the same for every step and scoring", True),
    ],
)
def test_a_row_from_before_randomness_was_kept_is_read_by_its_sentence(
    draws: str, random: bool
) -> None:
    record = json.loads(row(draws=draws, random=random).to_json())
    assert record.pop("random") is random
    assert Row.from_json(json.dumps(record), "here") == row(draws=draws, random=random)

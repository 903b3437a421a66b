"""What a move or a renaming may not change: seeds, first answers, losses of attacks, rows."""

from pathlib import Path

import pytest
from golden import networks, numbers, streams
from golden.files import changes, read, write

Found = tuple[networks.Numbers, dict[str, int]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    with streams.asked() as asked:
        return networks.all_numbers(tmp_path_factory.mktemp("golden")), asked


def test_numbers_are_the_golden_ones(found: Found) -> None:
    assert numbers.differences(read(numbers.FILE), found[0]) == []


def test_streams_are_the_golden_ones(found: Found) -> None:
    assert changes(read(streams.FILE), found[1] | streams.rare()) == []


@pytest.mark.slow
def test_autoattack_s_numbers_are_the_golden_ones(tmp_path: Path) -> None:
    assert numbers.differences(read(numbers.SLOW), networks.autoattack_numbers(tmp_path)) == []


# --- the comparison itself ----------------------------------------------------------------------


def test_tolerances_are_small_beside_what_they_guard() -> None:
    """Accuracies within 5 points, losses after training within 1%, all else within 0.01%."""
    for key, entry in read(numbers.FILE).items():
        largest = max(map(abs, entry["values"]))
        bound = 1e-4 * max(1, largest)
        if key.endswith("accuracies"):
            bound = 0.05
        elif key.endswith("loss after training"):
            bound = 0.01 * largest
        assert 0 < entry["within"] <= bound, key


def test_networks_and_attacks_are_told_apart() -> None:
    """Hardly any golden number would pass for that of another network or attack."""
    kinds: dict[str, list[numbers.Entry]] = {}
    for key, entry in read(numbers.FILE).items():
        kinds.setdefault(key.rpartition(": ")[2], []).append(entry)
    for kind in ("loss after training", "logits at the start", "loss at every question"):
        same = [
            (one, other)
            for i, one in enumerate(kinds[kind])
            for other in kinds[kind][:i]
            if numbers.differences({kind: one}, {kind: other["values"]}) == []
        ]
        pairs = len(kinds[kind]) * (len(kinds[kind]) - 1) / 2
        assert len(same) <= 0.15 * pairs, kind  # squeezing and pruning start from dense weights


def test_a_number_too_far_is_told() -> None:
    golden = {"a": {"values": [1.0, 2.0], "within": 0.1}, "b": {"values": [1.0], "within": 0.1}}
    same = {"a": [1.05, 2.0], "b": [0.95]}
    assert numbers.differences(golden, same) == []
    assert numbers.differences(golden, same | {"a": [1.0, 2.2]}) == [
        "a, number 1: 2.2, golden 2 within 0.1"
    ]
    assert numbers.differences(golden, same | {"b": [float("nan")]}) == [
        "b, number 0: nan, golden 1 within 0.1"
    ]
    assert numbers.differences(golden, {"a": [1.0], "c": [0.0]}) == [
        "b: not computed",
        "a: 1 numbers, not 2",
        "c: no golden value",
    ]


def test_a_tolerance_is_what_rounding_moves_five_times() -> None:
    assert numbers.within("a", [1.0, 2.0], [[1.0, 2.001], [1.0004, 2.0]]) == pytest.approx(0.005)
    assert numbers.within("a", [300.0], [[300.0]]) == pytest.approx(0.006)  # float32 alone
    assert numbers.within("x: accuracies", [0.5, 0.5], [[0.5, 0.5]]) == 0.01


def test_files_come_back_and_say_what_changed(tmp_path: Path) -> None:
    old = {"a": {"x": 1, "y": [2]}, "b": 3}
    write(tmp_path / "file", old)
    assert read(tmp_path / "file") == old
    assert changes(old, old) == []
    assert changes(old, {"a": {"x": 1, "y": [4]}, "c": 5}) == [
        'changed  a: {"y": [2]} -> {"y": [4]}',
        "gone     b",
        "new      c: 5",
    ]

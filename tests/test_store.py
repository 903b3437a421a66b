import errno
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from helpers.fake_rows import row
from helpers.full_disk import full_disk

from defensive_tensorization.errors import UsageError
from defensive_tensorization.results.row import Row
from defensive_tensorization.results.store import append, collect, read


def test_append_then_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.jsonl"
    assert append(path, row(eval_seed=0))
    assert append(path, row(eval_seed=1))
    assert not append(path, row(eval_seed=0, robust_accuracy=0.1))
    assert [each.eval_seed for each in read([path])] == [0, 1]
    assert read([path])[0].robust_accuracy == 0.5


@pytest.mark.parametrize("torn", ['{"run_id": "cif', '{"run_id": "cif\n', "{}", "\n", "\xff\n"])
def test_torn_last_line_is_ignored_then_cut_off(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "run.jsonl"
    append(path, row(eval_seed=0))
    whole = path.read_bytes()
    path.write_bytes(whole + torn.encode("latin-1"))
    assert len(read([path])) == 1
    append(path, row(eval_seed=1))
    assert path.read_bytes() == whole + f"{row(eval_seed=1).to_json()}\n".encode()


def test_last_line_without_newline_is_torn_even_if_it_parses(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(row().to_json())
    assert read([path]) == []
    assert append(path, row())
    assert path.read_text() == f"{row().to_json()}\n"


def test_corrupt_line_in_the_middle_names_line_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    lines = [row(eval_seed=0).to_json(), '{"broken', row(eval_seed=1).to_json(), ""]
    path.write_text("\n".join(lines))
    with pytest.raises(UsageError, match=r"run\.jsonl:2: not a JSON row; delete this line"):
        read([path])
    with pytest.raises(UsageError, match=r"run\.jsonl:2"):
        append(path, row(eval_seed=2))
    assert path.read_text() == "\n".join(lines)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, r"run\.jsonl:1: unknown field 'extra'"),
        ({"n": "1000"}, r"run\.jsonl:1: n must be int, got '1000'"),
        ({"n": True}, r"run\.jsonl:1: n must be int, got True"),
        ({"versions": {"torch": 2}}, r"run\.jsonl:1: versions must be dict"),
        ({"clean_accuracy": 93.0}, r"run\.jsonl:1: clean_accuracy must be a fraction"),
    ],
)
def test_wrong_rows_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(json.dumps(asdict(row()) | change) + "\n")
    with pytest.raises(UsageError, match=message):
        read([path])


def test_missing_field_and_other_json_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    record = asdict(row())
    del record["theta"]
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(UsageError, match=r"run\.jsonl:1: missing field 'theta'"):
        read([path])
    path.write_text("[1, 2]\n")
    with pytest.raises(UsageError, match=r"run\.jsonl:1: a row must be a JSON object"):
        read([path])


def test_read_folders_files_and_nothing(tmp_path: Path) -> None:
    append(tmp_path / "b.jsonl", row(eval_seed=1))
    append(tmp_path / "a.jsonl", row(eval_seed=0))
    append(tmp_path / "c.jsonl", row(eval_seed=0, robust_accuracy=0.2))
    found = read([tmp_path, tmp_path / "b.jsonl", tmp_path / "absent"])
    assert [(each.eval_seed, each.robust_accuracy) for each in found] == [(0, 0.5), (1, 0.5)]


APPENDER = """
import sys
from pathlib import Path
from helpers.fake_rows import row
from defensive_tensorization.results.row import Row
from defensive_tensorization.results.store import append
for seed in range(25):
    append(Path(sys.argv[1]), row(fingerprint=sys.argv[2], eval_seed=seed))
    append(Path(sys.argv[1]), row(fingerprint="both", eval_seed=seed))
"""


def test_two_processes_append_without_loss_or_repeats(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    here = Path(__file__).parent
    command = [sys.executable, "-c", APPENDER, str(path)]
    environment = {"PYTHONPATH": f"{here}:{here.parent}"}
    processes = [subprocess.Popen([*command, name], env=environment) for name in ("one", "two")]
    assert [process.wait(60) for process in processes] == [0, 0]
    lines = path.read_text().splitlines()
    keys = [Row.from_json(line, "line").key for line in lines]
    names = ("one", "two", "both")
    assert sorted(keys) == sorted(
        f"{name}/{'p' * 12}/{seed}" for name in names for seed in range(25)
    )


def test_collect_is_sorted_filtered_and_byte_identical(tmp_path: Path) -> None:
    source, target = tmp_path / "runs", tmp_path / "results" / "rows"
    for seed in (2, 0, 1):
        append(source / "x.jsonl", row(run_id="x-theta0.95", eval_seed=seed))
    append(source / "y.jsonl", row(run_id="y", scale="paper", fingerprint="y"))
    append(target / "x-theta0.95.jsonl", row(run_id="x-theta0.95", eval_seed=9))

    def keep(each: Row) -> bool:
        return each.scale == "cpu"

    assert collect(source, target, keep) == [target / "x-theta0.95.jsonl"]
    first = (target / "x-theta0.95.jsonl").read_bytes()
    assert [each.eval_seed for each in read([target])] == [0, 1, 2, 9]
    assert collect(source, target, keep) == [target / "x-theta0.95.jsonl"]
    assert (target / "x-theta0.95.jsonl").read_bytes() == first
    assert collect(tmp_path / "absent", target, keep) == []


def test_collect_takes_the_sources_row(tmp_path: Path) -> None:
    append(tmp_path / "target" / "x.jsonl", row(run_id="x", robust_accuracy=0.1))
    append(tmp_path / "source" / "x.jsonl", row(run_id="x", robust_accuracy=0.2))
    collect(tmp_path / "source", tmp_path / "target", lambda each: True)
    assert [each.robust_accuracy for each in read([tmp_path / "target"])] == [0.2]


def test_rows_of_an_older_training_give_way(tmp_path: Path) -> None:
    for seed in (0, 1):
        append(tmp_path / "target" / "x.jsonl", row(run_id="x", eval_seed=seed, weights="old"))
    append(tmp_path / "source" / "x.jsonl", row(run_id="x", eval_seed=2, weights="new"))
    collect(tmp_path / "source", tmp_path / "target", lambda each: True)
    assert [(r.eval_seed, r.weights) for r in read([tmp_path / "target"])] == [(2, "new")]


def test_a_training_anew_leaves_other_tables_their_rows(tmp_path: Path) -> None:
    """The table at hand has protocol p: of it nothing of the old training stays."""
    old = [row(run_id="x", protocol=p, eval_seed=s, weights="old") for p in "pq" for s in (0, 1)]
    for each in old:
        append(tmp_path / "target" / "x.jsonl", each)
    append(tmp_path / "source" / "x.jsonl", row(run_id="x", protocol="p", weights="new"))
    collect(tmp_path / "source", tmp_path / "target", lambda row: row.protocol == "p")
    found = sorted((r.protocol, r.eval_seed, r.weights) for r in read([tmp_path / "target"]))
    assert found == [("p", 0, "new"), ("q", 0, "old"), ("q", 1, "old")]


@pytest.mark.parametrize(("there", "come"), [("", "known"), ("known", "")])
def test_rows_that_recorded_no_weights_stay_beside_others(
    there: str, come: str, tmp_path: Path
) -> None:
    append(tmp_path / "target" / "x.jsonl", row(run_id="x", eval_seed=0, weights=there))
    append(tmp_path / "source" / "x.jsonl", row(run_id="x", eval_seed=1, weights=come))
    collect(tmp_path / "source", tmp_path / "target", lambda row: True)
    assert sorted(r.eval_seed for r in read([tmp_path / "target"])) == [0, 1]


@pytest.mark.parametrize(("again", "stay"), [(0.5, [0, 1]), (0.6, [0])])
def test_rows_that_recorded_no_weights_give_way_to_those_that_contradict_them(
    again: float, stay: list[int], tmp_path: Path
) -> None:
    for seed in (0, 1):
        append(
            tmp_path / "target" / "x.jsonl", row(run_id="x", eval_seed=seed, robust_accuracy=0.5)
        )
    fresh = row(run_id="x", eval_seed=0, robust_accuracy=again, weights="new")
    append(tmp_path / "source" / "x.jsonl", fresh)
    collect(tmp_path / "source", tmp_path / "target", lambda row: True)
    assert [r.eval_seed for r in read([tmp_path / "target"])] == stay


@pytest.mark.parametrize("room", [0, 1, 300])
def test_a_full_disk_is_an_error_and_loses_no_row(tmp_path: Path, room: int) -> None:
    """The system writes what fits and says nothing: half a row must not pass for one."""
    path, first, second = tmp_path / "a.jsonl", row(eval_seed=0), row(eval_seed=1)
    append(path, first)
    with full_disk(path.stat().st_size + room), pytest.raises(OSError) as caught:
        append(path, second)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert read([path]) == [first]
    assert append(path, second)
    assert read([path]) == [first, second]

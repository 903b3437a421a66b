import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.fake_rows import row

from defensive_tensorization.commands.merge_rows import merge_rows
from defensive_tensorization.errors import UsageError
from defensive_tensorization.results import store
from defensive_tensorization.results.row import Row

ROOT = Path(__file__).resolve().parents[1]


def folder(where: Path, *rows: Row) -> Path:
    for each in rows:
        store.append(where / f"{each.run_id}.jsonl", each)
    return where


def keys(where: Path) -> list[str]:
    return sorted(each.key for each in store.read([where]))


def test_every_row_is_there_once_and_what_was_there_stays(tmp_path: Path) -> None:
    mine = [row(run_id="a", eval_seed=0, seconds=1.0), row(run_id="a", eval_seed=1)]
    theirs = [row(run_id="a", eval_seed=seed, seconds=2.0) for seed in (0, 2)]
    others = [row(run_id="b", fingerprint="b", eval_seed=0)]
    target = folder(tmp_path / "runs" / "rows", *mine)
    before = (target / "a.jsonl").read_bytes()
    sources = [folder(tmp_path / "one", *theirs), folder(tmp_path / "two" / "rows", *others).parent]
    assert merge_rows(sources, target) == 2
    assert keys(target) == sorted(r.key for r in [*mine, theirs[1], *others])
    assert (target / "a.jsonl").read_bytes().startswith(before)
    whole = {path.name: path.read_bytes() for path in target.glob("*.jsonl")}
    assert merge_rows(sources, target) == 0
    assert {path.name: path.read_bytes() for path in target.glob("*.jsonl")} == whole


@pytest.mark.parametrize("among", ["sources", "target and source"])
def test_two_trainings_of_one_network_are_not_mixed(tmp_path: Path, among: str) -> None:
    one = folder(tmp_path / "one", row(run_id="a", weights="1" * 16))
    two = folder(tmp_path / "two", row(run_id="a", weights="2" * 16, eval_seed=1))
    target = tmp_path / "rows" if among == "sources" else one
    with pytest.raises(UsageError) as caught:
        merge_rows([one, two] if among == "sources" else [two], target)
    assert str(caught.value) == (
        f"a was trained twice, as {'1' * 16} in {one} and as {'2' * 16} in {two}: "
        "leave out its file in one of them"
    )
    assert not (tmp_path / "rows").exists()
    assert len(keys(one)) == 1


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere holds no rows: name a folder of "):
        merge_rows([tmp_path / "nowhere"], tmp_path / "rows")
    command = [sys.executable, str(ROOT / "scripts" / "collect.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "rows"], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    text = 'error: name the folders to collect from: make collect FROM="A/runs B/runs"\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, "", text)

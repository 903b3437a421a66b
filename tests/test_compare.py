"""make compare: answers of two networks, paired image by image."""

from pathlib import Path

import numpy as np
import pytest
from helpers.fake_rows import row

from defensive_tensorization.commands import compare
from defensive_tensorization.errors import UsageError
from defensive_tensorization.results import store
from defensive_tensorization.results.row import Row
from defensive_tensorization.results.scores import Answers

N, DRAWS = 200, 10


def answered(run: str, right: np.ndarray, **changes: object) -> Row:
    """A row whose images were right under so many of 10 draws, spread evenly over them."""
    order = (np.arange(DRAWS) + np.arange(len(right))[:, None]) % DRAWS
    each = order < right[:, None]
    made = Answers(right, right > DRAWS / 2, right > DRAWS / 2, each.sum(0))
    correct, votes, by_draw = made.encoded()
    told = {"scored": DRAWS, "correct": correct, "votes": votes, "by_draw": by_draw}
    more = {"n": len(right), "subset": f"{len(right)} test images", "run_id": run}
    name = {"fingerprint": run[-8:] * 2, "robust_accuracy": made.accuracy}
    return row(**{**told, **more, **name, **changes})


def test_the_difference_is_that_of_the_same_images() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, DRAWS + 1, N)
    b = np.clip(a - (rng.random(N) < 0.3) * 5, 0, DRAWS)
    (found,) = compare.compared([answered("a-00000001", a)], [answered("b-00000002", b)])
    gaps = (a - b) / DRAWS
    assert found.gap.estimate == pytest.approx(gaps.mean())
    assert (found.a, found.b) == pytest.approx((a.mean() / DRAWS, b.mean() / DRAWS))
    half = 1.96 * gaps.std() / np.sqrt(N)  # by hand, without the care of few images
    assert found.gap.high - found.gap.low == pytest.approx(2 * half, rel=0.25)
    assert found.verdict == "A keeps more"


def test_networks_that_answer_alike_do_not_differ() -> None:
    a = np.random.default_rng(1).integers(0, DRAWS + 1, N)
    (found,) = compare.compared([answered("a-00000001", a)], [answered("b-00000002", a)])
    assert found.gap.estimate == 0 and found.verdict == "no difference shown"


def test_only_what_both_met_is_compared() -> None:
    a = np.arange(N) % (DRAWS + 1)
    mine = [
        answered("a-00000001", a, attack=at, epsilon=e, eval_seed=s, protocol=f"{at}{e}")
        for at, e in (("pgd", 2.0), ("pgd", 8.0), ("clean", 0.0))
        for s in range(2)
    ]
    other = [
        answered("b-00000002", a, attack="pgd", epsilon=2.0, eval_seed=1),
        answered("b-00000002", a[:100], attack="pgd", epsilon=8.0),
        answered("b-00000002", a, attack="clean", epsilon=0.0),
    ]
    found = compare.compared(mine, other)
    assert [(c.attack, c.epsilon, c.seeds) for c in found] == [("clean", 0.0, 1), ("pgd", 2.0, 1)]


@pytest.mark.parametrize("changes", [{"data_digest": "e" * 16}, {"correct": ""}, {"steps": 7}])
def test_what_cannot_be_paired_is_refused(changes: dict[str, object]) -> None:
    a = np.arange(N) % (DRAWS + 1)
    with pytest.raises(UsageError, match="share no attack with per-image answers.*eval.draws=30"):
        compare.compared([answered("a-00000001", a)], [answered("b-00000002", a, **changes)])


def test_the_command_finds_runs_by_name_digits_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a = np.arange(N) % (DRAWS + 1)
    for name, right in (("net-00000001", a), ("net-00000002", DRAWS - a)):
        store.append(tmp_path / "runs" / "rows" / f"{name}.jsonl", answered(name, right))
    folders = [f"paths.runs={tmp_path / 'runs'}", f"paths.results={tmp_path}"]
    file = str(tmp_path / "runs" / "rows" / "net-00000002.jsonl")
    for first, second in (("net-00000001", "00000002"), ("00000001", file)):
        monkeypatch.setattr("sys.argv", ["compare.py", first, second, *folders])
        compare.main()
        told = capsys.readouterr().out
        assert "A  net-00000001\nB  net-00000002" in told
        assert f"{100 * (2 * a.mean() / DRAWS - 1):.1f}" in told
    for words, complaint in (
        (["nothing", "00000001"], "choose one of net-00000001, net-00000002; a file of rows or 8"),
        (["net-0000001", "00000001"], "did you mean net-00000001? (make list shows all); a file"),
        (["00000001"], "name two runs"),
    ):
        monkeypatch.setattr("sys.argv", ["compare.py", *words, *folders])
        with pytest.raises(SystemExit) as ended:
            compare.main()
        assert ended.value.code == 2
        assert complaint in capsys.readouterr().err

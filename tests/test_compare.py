"""make compare: answers of two networks, paired image by image."""

from pathlib import Path

import numpy as np
import pytest
from helpers.fake_rows import row

from defensive_tensorization.commands import compare
from defensive_tensorization.config import CONFIGS
from defensive_tensorization.errors import UsageError
from defensive_tensorization.results import store
from defensive_tensorization.results.row import Row
from defensive_tensorization.results.scores import Answers

N, DRAWS = 200, 10
CPU = CONFIGS.parent / "results" / "cpu" / "rows"


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


def both(a: list[Row], b: list[Row]) -> list[compare.Compared]:
    return compare.compared(*compare.chosen(a, b))


def test_the_difference_is_that_of_the_same_images() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, DRAWS + 1, N)
    b = np.clip(a - (rng.random(N) < 0.3) * 5, 0, DRAWS)
    (found,) = both([answered("a-00000001", a)], [answered("b-00000002", b)])
    gaps = (a - b) / DRAWS
    assert found.gap.estimate == pytest.approx(gaps.mean())
    assert (found.a, found.b) == pytest.approx((a.mean() / DRAWS, b.mean() / DRAWS))
    half = 1.96 * gaps.std() / np.sqrt(N)  # by hand, without the care of few images
    assert found.gap.high - found.gap.low == pytest.approx(2 * half, rel=0.25)
    assert found.verdict == "A keeps more"


def test_networks_that_answer_alike_do_not_differ() -> None:
    a = np.random.default_rng(1).integers(0, DRAWS + 1, N)
    (found,) = both([answered("a-00000001", a)], [answered("b-00000002", a)])
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
    found = both(mine, other)
    assert [(c.attacked.attack, c.attacked.epsilon, c.seeds) for c in found] == [
        ("clean", 0.0, 1),
        ("pgd", 2.0, 1),
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data_digest": "e" * 16}, f"fgsm at 8: data {'d' * 16} and {'e' * 16}"),
        ({"correct": ""}, "b-00000002: no per-image answers"),
        ({"steps": 7}, "fgsm at 8: steps 1 and 7"),
        ({"step_size": 1 / 255}, "fgsm at 8: step size 8.0 and 1.0"),
        ({"subset": f"{N} test images, permutation seed 1"}, "fgsm at 8: images 200 test images"),
        ({"knowledge": "omniscient"}, "fgsm at 8: knowledge fresh and omniscient"),
        ({"options": "draws=5"}, "fgsm at 8: K 1 and 5"),
        ({"eval_seed": 3}, "fgsm at 8: evaluation seeds"),
        ({"epsilon": 2.0}, "on the same images: evaluate"),
    ],
)
def test_what_cannot_be_paired_is_refused(changes: dict[str, object], reason: str) -> None:
    a = np.arange(N) % (DRAWS + 1)
    match = f"share no attack with per-image answers.*{reason}.*eval.draws=30"
    with pytest.raises(UsageError, match=match):
        both([answered("a-00000001", a)], [answered("b-00000002", a, **changes)])


RANDOM = {"theta": 0.8, "defence": "tensorization", "batchnorm": "recalibrated"}
DENSE = {"theta": 1.0, "defence": "none", "batchnorm": "running"}


def test_a_dense_network_is_compared_with_a_random_one() -> None:
    """Of a network that draws nothing, one number of averaged draws stands for all."""
    a = np.arange(N) % (DRAWS + 1)
    eot = {"attack": "eot_pgd", "draws": "one per batch of 200 for scoring"}
    dense = [
        answered("net-dense-seed0-00000001", a, options="keep=best draws=1", **DENSE, **eot),
        answered("net-dense-seed0-00000001", a, **DENSE | {"defence": "squeezing"}),
    ]
    ours = [
        answered("net-theta0.8-00000002", a, options=f"keep=best draws={k}", **RANDOM, **eot)
        for k in (1, 20)
    ]
    ours.append(answered("net-theta0.8-00000002", 0 * a, sketch=False, **RANDOM))
    one, other = compare.chosen(dense, ours)
    found = compare.compared(one, other)
    assert [each.attacked.averaged for each in found] == [1, 20]
    assert all(each.gap.estimate == 0 for each in found)
    lines = compare.told(one, other, compare.left_out("A", dense, one)).splitlines()
    told = [line.split() for line in lines]
    assert ["defence", "none", "tensorization"] in told
    assert ["BatchNorm", "running", "recalibrated"] in told
    assert ["randomness", "none", "random"] in told
    assert "Its file also holds rows with defence=squeezing" in lines[-1]


def test_committed_dense_and_random_networks_are_compared() -> None:
    rows = [compare.rows_of(name, [CPU]) for name in ("f5144d7f", "8fd1ceb7")]
    found = both(*rows)
    assert found[0].attacked.attack == "clean" and len(found) >= 7
    for each in found:
        a, b = (
            {
                row.robust_accuracy
                for row in of
                if row.sketch
                and row.defence in ("none", "tensorization")
                and (row.attack, row.epsilon) == each.attacked[:2]
                and (row.n, row.steps) == (each.attacked.n, each.attacked.steps)
            }
            for of in rows
        )
        assert any(each.a == pytest.approx(one) for one in a)
        assert any(each.b == pytest.approx(one) for one in b)


def test_an_attack_by_several_protocols_is_named_and_left_out() -> None:
    """As an attack through another derivative of sgn, of which a row has no field."""
    a = np.arange(N) % (DRAWS + 1)
    mine = [
        answered("a-00000001", a, attack="clean", epsilon=0.0, protocol="c"),
        answered("a-00000001", a, attack="pgd", protocol="p"),
        answered("a-00000001", DRAWS - a, attack="pgd", protocol="q"),
    ]
    other = [
        answered("b-00000002", a, attack=at, epsilon=e) for at, e in (("clean", 0.0), ("pgd", 8.0))
    ]
    one, second = compare.chosen(mine, other)
    assert [each.attacked.attack for each in compare.compared(one, second)] == ["clean"]
    assert "A has these by several protocols, not compared: pgd at 8." in compare.told(one, second)


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

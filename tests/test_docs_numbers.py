"""Numbers in README and docs come from the csv files; those typed by hand only grow fewer."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "scripts"))

import docs_numbers  # noqa: E402

# Percentages and points that nobody has put between markers yet: a number here may only fall.
TYPED = {
    "docs/audio.md": 8,
    "docs/audit.md": 8,
    "docs/honest.md": 5,
    "docs/layers.md": 2,
    "docs/networks.md": 2,
    "docs/protocol.md": 2,
    "docs/scaling.md": 5,
    "docs/speed.md": 3,
    "docs/xnor.md": 18,
}
PAGES = docs_numbers.pages()

CSV = """attack,epsilon,method,ours_mean,refused
clean,0.0,Dense,82.26,
clean,0.0,Ours θ=0.9,80.0,
pgd,2.0,Dense,36.55,
pgd,2.0,Ours θ=0.9,43.3,still falls
"""
TABLE = "table.csv rows=attack,epsilon columns=method value=ours_mean"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text(CSV)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_shows_what_the_csv_holds(page: Path) -> None:
    text = page.read_text()
    assert docs_numbers.rendered(text) == text, "run make docs-numbers"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_number_more_is_typed_by_hand(page: Path) -> None:
    found = docs_numbers.typed(page.read_text())
    assert len(found) <= TYPED.get(name(page), 0), f"put {found} between markers"


def test_a_table_by_hand(root: Path) -> None:
    made = docs_numbers.rendered(f"a\n<!-- begin: {TABLE} -->stale<!-- end -->\nb", root)
    assert made == (
        f"a\n<!-- begin: {TABLE} -->\n"
        "| attack | ε | Dense | Ours θ=0.9 |\n"
        "| --- | --- | ---: | ---: |\n"
        "| Clean | 0 | 82.3 | 80.0 |\n"
        "| PGD | 2 | 36.5 | 43.3 (not converged) |\n"
        "<!-- end -->\nb"
    )
    assert docs_numbers.rendered(made, root) == made


def test_filters_choose_and_order(root: Path) -> None:
    words = f'{TABLE} attack=pgd|clean method="Ours θ=0.9|Dense"'
    made = docs_numbers.rendered(f"<!-- begin: {words} --><!-- end -->", root).splitlines()
    assert made[1:5] == [
        "| attack | ε | Ours θ=0.9 | Dense |",
        "| --- | --- | ---: | ---: |",
        "| PGD | 2 | 43.3 (not converged) | 36.5 |",
        "| Clean | 0 | 80.0 | 82.3 |",
    ]


def test_several_fields_stand_side_by_side(root: Path) -> None:
    (root / "table.csv").write_text("epsilon,published,stopped\n2.0,72.3,58.36\n8.0,,29.5\n")
    words = "table.csv rows=epsilon values=published,stopped"
    assert docs_numbers.rendered(f"<!-- begin: {words} --><!-- end -->", root).splitlines()[
        1:5
    ] == [
        "| ε | published | stopped at the first miss |",
        "| --- | ---: | ---: |",
        "| 2 | 72.3 | 58.4 |",
        "| 8 | — | 29.5 |",
    ]


def test_a_spread_and_an_upper_bound_are_shown(root: Path) -> None:
    (root / "table.csv").write_text(
        "epsilon,stopped,stopped_std,averaged,upper_bound\n"
        "2.0,58.33,3.52,16.43,0 of 25 cells\n"
        "8.0,28.6,,0.0,\n"
    )
    words = "table.csv rows=epsilon values=stopped,averaged"
    plain = docs_numbers.rendered(f"<!-- begin: {words} --><!-- end -->", root).splitlines()
    assert plain[3:5] == ["| 2 | 58.3 | 16.4† |", "| 8 | 28.6 | 0.0 |"]
    spread = docs_numbers.rendered(f"<!-- begin: {words} std=yes --><!-- end -->", root)
    assert spread.splitlines()[3:5] == ["| 2 | 58.3 ± 3.5 | 16.4† |", "| 8 | 28.6 | 0.0 |"]


def test_the_ratios_of_a_benchmark(root: Path) -> None:
    ratios = {"a / b": {"minimum": 0.504, "median": 0.48}, "c / d": {"minimum": 9, "median": 9}}
    (root / "bench.json").write_text(json.dumps({"ratios": ratios, "quick": False}))
    words = 'bench.json rows=ratio values=minimum,median digits=2 ratio="a / b"'
    made = docs_numbers.rendered(f"<!-- begin: {words} --><!-- end -->", root).splitlines()
    assert made[1:4] == [
        "| ratio | minimum | median |",
        "| --- | ---: | ---: |",
        "| a / b | 0.50 | 0.48 |",
    ]


def test_one_number_in_a_sentence(root: Path) -> None:
    words = "table.csv value=ours_mean attack=pgd epsilon=2 method=Dense"
    made = docs_numbers.rendered(f"keeps <!-- begin: {words} -->9%<!-- end --> of them", root)
    assert made == f"keeps <!-- begin: {words} -->36.5%<!-- end --> of them"
    assert docs_numbers.typed(made) == []


def test_a_changed_csv_makes_a_page_stale(root: Path) -> None:
    page = docs_numbers.rendered(f"<!-- begin: {TABLE} --><!-- end -->", root)
    (root / "table.csv").write_text(CSV.replace("36.55", "37.55"))
    assert docs_numbers.rendered(page, root) == page.replace("36.5", "37.5")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("table.csv value=mean", "table.csv has no field 'mean': take one of attack, epsilon"),
        ("table.csv value=ours_mean attack=pgd", "2 lines of the csv fit, one must"),
        ("table.csv value=ours_mean attack=bim", "0 lines of the csv fit, one must"),
        ("table.csv rows=attack columns=method value=refused typo=1", "has no field 'typo'"),
    ],
)
def test_what_cannot_be_rendered(root: Path, words: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        docs_numbers.rendered(f"<!-- begin: {words} --><!-- end -->", root)


def test_a_block_without_an_end(root: Path) -> None:
    with pytest.raises(ValueError, match="a block has no end"):
        docs_numbers.rendered(f"<!-- begin: {TABLE} -->", root)


def test_typed_numbers_are_found_outside_of_blocks_and_code() -> None:
    text = (
        "keeps 1.5% and 20 %, 3 points less, at theta = 0.9 and 8/255, torch 2.11.0\n"
        "<!-- begin: x -->\n| 7.0% |\n<!-- end -->\n    indented 5%\n```\n6%\n```\n"
    )
    assert docs_numbers.typed(text) == ["1.5%", "20 %", "3 points"]


def test_the_cost_of_a_layer_is_what_was_measured() -> None:
    """The table of targets in docs/layers.md, and how near its floor a training step comes."""
    measured = json.loads((ROOT / "results/bench/layers.json").read_text())
    fastest = {
        (each["network"], *each["setting"].values()): each["minimum"]
        for each in measured["timings"]
    }
    ratios = {
        at[1:]: fastest[at] / fastest[("dense", *at[1:])] for at in fastest if at[0] == "ours"
    }
    floors = {tuple(each.values())[:-1]: each["floor"] for each in measured["floors"]}

    def of(width: int, batch: int, *operations: str, theta: float | None = None) -> list[str]:
        found = [
            ratio
            for (w, _, b, operation, t), ratio in ratios.items()
            if (w, b) == (width, batch) and operation in operations and theta in (None, t)
        ]
        return [f"{end:.2f}" for end in (min(found), max(found))]

    page = " ".join((ROOT / "docs/layers.md").read_text().split())
    step, attack, forward = "training step", "attack step", "forward"
    for width in (64, 16):
        for ends in (
            of(width, 128, step),
            of(width, 128, attack),
            of(width, 1, step),
            of(width, 1, attack),
            of(width, 128, forward, attack, theta=1.0),
            of(width, 1, forward, attack, theta=1.0),
        ):
            assert all(end in page for end in ends), ends
    for dtype in ("float32", "bfloat16"):
        at = [(64, dtype, 128, step, theta) for theta in (1.0, 0.8)]
        near = " and ".join(f"{ratios[each] / floors[each]:.2f}" for each in at)
        assert near in page

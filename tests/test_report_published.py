from collections import Counter
from pathlib import Path

import pytest

from defensive_tensorization.errors import UsageError
from defensive_tensorization.report.published import elsewhere, published

PAPER = Path(__file__).parent.parent / "results" / "paper"


@pytest.mark.parametrize(
    ("name", "only", "cells", "attacks"),
    [
        ("table1", {}, 40, {"clean": 4, "fgsm": 12, "bim": 12, "pgd": 12}),
        ("table2", {}, 49, {"clean": 7, "fgsm": 21, "pgd": 21}),
        ("table3", {}, 9, {"fgsm": 3, "bim": 3, "pgd": 3}),
        ("table4", {}, 40, {"clean": 4, "fgsm": 12, "bim": 12, "pgd": 12}),
        ("table5", {"precision": "real"}, 16, {"clean": 4, "fgsm": 12}),
        ("table5", {"precision": "binary"}, 16, {"clean": 4, "fgsm": 12}),
    ],
)
def test_every_cell_is_there(
    name: str, only: dict[str, str], cells: int, attacks: dict[str, int]
) -> None:
    values = published(PAPER, name, **only)
    assert len(values) == cells
    assert Counter(attack for attack, _, _ in values) == attacks
    methods = Counter(method for _, _, method in values)
    assert len(set(methods.values())) == 1
    assert all(0 <= value <= 100 for value in values.values())


@pytest.mark.parametrize(
    ("name", "attack", "epsilon", "method", "value"),
    [
        ("table1", "clean", 0, "baseline", 95.3),
        ("table1", "fgsm", 2, "ours_0.9", 86.8),
        ("table1", "fgsm", 16, "ours_0.8", 60.3),
        ("table1", "bim", 8, "ours_0.95", 26.6),
        ("table1", "pgd", 2, "baseline", 22.9),
        ("table1", "pgd", 16, "ours_0.8", 34.3),
        ("table2", "clean", 0, "normal", 95.4),
        ("table2", "fgsm", 8, "dq", 53),
        ("table2", "pgd", 2, "squeezing", 64),
        ("table2", "pgd", 16, "adv_rfgsm", 11),
        ("table2", "fgsm", 16, "adv_pgd", 31),
        ("table2", "pgd", 16, "ours_0.95_adv_pgd", 59.8),
        ("table2", "clean", 0, "ours_0.8", 90.1),
        ("table3", "fgsm", 2, "ours_0.9", 91.1),
        ("table3", "pgd", 16, "ours_0.9", 53.9),
        ("table3", "bim", 8, "ours_0.9", 80.4),
        ("table4", "clean", 0, "ours_0.99", 80.0),
        ("table4", "fgsm", 16, "baseline_tanh", 3.4),
        ("table4", "bim", 2, "baseline_tanh075", 35.1),
        ("table4", "pgd", 8, "baseline_identity", 0.1),
        ("table4", "pgd", 16, "ours_0.99", 41.5),
    ],
)
def test_spot_values(name: str, attack: str, epsilon: float, method: str, value: float) -> None:
    assert published(PAPER, name)[attack, epsilon, method] == value


def test_spot_values_of_table5() -> None:
    real, binary = (published(PAPER, "table5", precision=p) for p in ("real", "binary"))
    assert real["clean", 0, "baseline"] == 93.8
    assert real["fgsm", 0.032, "ours_0.95"] == 40.2
    assert real["fgsm", 0.063, "ours_0.9"] == 35.7
    assert binary["clean", 0, "ours_0.99"] == 89.0
    assert binary["fgsm", 0.063, "baseline"] == 0.2
    assert binary["fgsm", 0.008, "ours_0.9"] == 56.0


def test_copied_rows_of_table2_say_so() -> None:
    elsewhere = published(PAPER, "table2", source="published elsewhere (Lin et al. 2019)")
    assert {method for _, _, method in elsewhere} == {"dq", "squeezing", "adv_rfgsm"}
    assert len(elsewhere) == 21
    assert len(published(PAPER, "table2", source="this paper")) == 28


def test_errors_name_file_line_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"table9\.csv: no published numbers there; restore"):
        published(tmp_path, "table9")
    with pytest.raises(UsageError, match=r"table5\.csv:\d+: .* occurs twice; select"):
        published(PAPER, "table5")
    (tmp_path / "t.csv").write_text("attack,epsilon,method,value\nfgsm,8/255,baseline,1\n")
    with pytest.raises(UsageError, match=r"t\.csv:2: not a published value .*8/255"):
        published(tmp_path, "t")


def test_where_copied_values_come_from() -> None:
    found = elsewhere(PAPER, "table2")
    assert set(found.values()) == {"published elsewhere (Lin et al. 2019)"}
    assert Counter(method for _, _, method in found) == {"dq": 7, "squeezing": 7, "adv_rfgsm": 7}
    assert elsewhere(PAPER, "table1") == {}

import random
from dataclasses import replace

import pytest
from helpers.fake_rows import COLUMNS, LINES, TABLE, row, table_rows

from defensive_tensorization.errors import UsageError
from defensive_tensorization.report.formats import markdown
from defensive_tensorization.report.tables import Cell, Column, Table, render

PUBLISHED = {("clean", 0.0, "baseline"): 95.3, ("pgd", 8.0, "ours_0.8"): 42.9}


def flat(cells: tuple[tuple[Cell, ...], ...]) -> list[Cell]:
    return [cell for line in cells for cell in line]


def test_every_cell_is_its_own_mean_and_std() -> None:
    rendered = render(TABLE, table_rows(), PUBLISHED)
    cell = rendered.cells[LINES.index(("fgsm", 8.0))][1]
    # 0.85 - 0.04 * 8 / 2 = 0.69, then + 0, 0.01 and 0.02
    assert cell.ours is not None
    assert cell.ours.robust_mean == pytest.approx(0.70)
    assert cell.ours.robust_std == pytest.approx(0.01)
    assert cell.published is None
    assert rendered.cells[0][0].published == 95.3
    assert rendered.missing == 0
    assert "missing: 0 of 15 cells" in rendered.caption


def test_removing_one_cells_rows_blanks_exactly_that_cell() -> None:
    rows = table_rows()
    before = render(TABLE, rows, PUBLISHED)
    for line, (attack, epsilon) in enumerate(LINES):
        for place, column in enumerate(COLUMNS):
            rest = [
                each
                for each in rows
                if (each.attack, each.epsilon, each.recipe) != (attack, epsilon, column.recipe)
            ]
            after = render(TABLE, rest, PUBLISHED)
            blank = replace(before.cells[line][place], ours=None, rows=())
            expected = [
                blank if (i, j) == (line, place) else cell
                for i, cells in enumerate(before.cells)
                for j, cell in enumerate(cells)
            ]
            assert flat(after.cells) == expected
            assert "missing: 1 of 15 cells" in after.caption


def test_removing_one_row_of_a_single_seed_blanks_one_cell() -> None:
    rows = table_rows(seeds=1)
    assert sum(cell.ours is None for cell in flat(render(TABLE, rows[:-1], {}).cells)) == 1


def test_order_of_rows_does_not_matter() -> None:
    rows = table_rows()
    shuffled = random.Random(1).sample(rows, len(rows))
    assert render(TABLE, shuffled, PUBLISHED) == render(TABLE, rows, PUBLISHED)


def test_no_rows_at_all() -> None:
    rendered = render(TABLE, [], PUBLISHED)
    assert rendered.missing == 15
    assert "missing: 15 of 15 cells" in rendered.caption
    assert "Rows: none yet" in rendered.caption


def test_rows_of_other_recipes_and_lines_are_left_out() -> None:
    others = [row(recipe="other", hardware="GPU"), *table_rows(seeds=1)]
    others.append(row(recipe="recipe-a", epsilon=16.0, hardware="another GPU"))
    assert "GPU" not in render(TABLE, others, PUBLISHED).caption


def test_draws_are_those_of_attacks_where_there_are_any() -> None:
    """A clean row knows nothing of an attack."""
    rows = [replace(r, draws="none" if r.attack == "clean" else "one") for r in table_rows()]
    assert "Draws: one." in render(TABLE, rows, {}).caption
    clean = [r for r in rows if r.attack == "clean"]
    assert "Draws: none." in render(TABLE, clean, {}).caption


def test_protocol_selects() -> None:
    rows = table_rows()
    accepted = frozenset({"clean-0", "fgsm-2"})
    narrow = replace(TABLE, columns=tuple(replace(c, protocols=accepted) for c in TABLE.columns))
    assert render(narrow, rows, {}).missing == 9
    again = [*rows, *(replace(each, protocol=f"{each.protocol}-b", n=10) for each in rows)]
    known = frozenset(each.protocol for each in rows)
    known_only = replace(TABLE, columns=tuple(replace(c, protocols=known) for c in TABLE.columns))
    assert render(known_only, again, {}).missing == 0
    with pytest.raises(UsageError, match=r"Baseline, clean at epsilon 0 .* clean-0, clean-0-b"):
        render(TABLE, again, {})


def test_two_data_need_a_choice() -> None:
    first, second = table_rows(), table_rows(data="CIFAR-10 (torchvision)", data_digest="e" * 16)
    second = [replace(each, fingerprint=f"{each.fingerprint}-e") for each in second]
    with pytest.raises(UsageError, match=r"torchvision.*JPEG q75.*--data TITLE"):
        render(TABLE, [*first, *second], {})
    for name in ("CIFAR-10 (torchvision)", "e" * 16):
        rendered = render(TABLE, [*first, *second], {}, data=name)
        assert "Data: CIFAR-10 (torchvision)." in rendered.caption
        assert rendered.cells == render(TABLE, second, {}).cells
    with pytest.raises(UsageError, match="--data 'MNIST' has no rows here"):
        render(TABLE, first, {}, data="MNIST")
    renamed = [replace(each, data=first[0].data) for each in second]
    with pytest.raises(UsageError, match="--data DIGEST"):
        render(TABLE, [*first, *renamed], {})


@pytest.mark.parametrize(
    "statement",
    [
        "At cpu scale: short schedule, not the paper's",
        "Data: CIFAR-10, JPEG q75 (folder)",
        "Network: resnet18, width 16, real weights",
        "Epochs: 12",
        "BatchNorm: frozen",
        "Training seed: 0",
        "n = 1,000 (1,000 test images, permutation seed 0)",
        "Evaluation seeds: 3 a cell, each its own attack and scoring",
        "FGSM: one step of ε; PGD: 2, 10 steps of 1/255 at ε = 2, 8 from a random start",
        "Hardware: 2 cores of a CPU",
        "Software: foolbox 3.3.4, torch 2.11.0",
        "Commit: 0123456789.",
        "Attack and scoring time: 8 min",  # 45 rows of 10 s = 7.5 min
        "ε in 1/255",
    ],
)
def test_caption_states(statement: str) -> None:
    assert statement in render(TABLE, table_rows(), PUBLISHED).caption


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ("1000", "up to 1,000 sizes up to ε, until the first miss"),
        ("20", "up to 20 sizes up to ε, until the first miss"),
        ("listed", "one step of ε, then of sizes below it, until the first miss"),
        ("single", "one step of ε"),
    ],
)
def test_caption_states_the_sizes_that_fgsm_tries_before_it_stops(sizes: str, said: str) -> None:
    stops = [
        replace(each, attack="foolbox1_fgsm", options=f"sizes={sizes} not_found=clean")
        for each in table_rows()
        if each.attack == "fgsm"
    ]
    caption = render(replace(TABLE, lines=(("foolbox1_fgsm", 8),)), stops, {}).caption
    assert f"Attacks: FGSM stopped at the first miss: {said}. " in caption


def test_caption_lists_disagreements() -> None:
    rows = table_rows(seeds=1)
    rows[0] = replace(rows[0], commit="fedcba9876543210", dirty=True, hardware="H100", scale="fast")
    rows = [replace(each, epochs=30 if each.recipe == "recipe-a" else 12) for each in rows]
    rows.append(replace(rows[1], eval_seed=1))
    caption = render(TABLE, rows, {}).caption
    assert "Commit: 0123456789; fedcba9876+" in caption
    assert "Hardware: 2 cores of a CPU; H100" in caption
    assert "Epochs: 30 (Baseline); 12 (Ours θ = 0.95, Ours θ = 0.8)" in caption
    assert "At cpu scale: " in caption and "At fast scale: " in caption
    assert "Evaluation seeds: 1 to 2 a cell" in caption
    assert "no ± where there is one seed" in caption
    assert "published" not in caption


def test_audio_epsilons_are_amplitudes() -> None:
    table = Table("t", "Audio", (Column("Baseline", "", "recipe-a"),), (("fgsm", 0.008),))
    rows = [row(epsilon=0.008, epsilon_absolute=0.008, step_size=0.008)]
    rendered = render(table, rows, {})
    assert rendered.missing == 0
    assert "ε in amplitude" in rendered.caption
    assert "| FGSM | 0.008 | 50.0 |" in markdown(rendered)


@pytest.mark.parametrize(
    ("scale", "text"),
    [("cpu", "the printed width and epochs"), ("smoke", "seconds of training")],
)
def test_audio_at_cpu_scale_is_the_printed_network(scale: str, text: str) -> None:
    table = Table("t", "Audio", (Column("Baseline", "", "recipe-a"),), (("fgsm", 8),))
    rendered = render(table, [row(scale=scale, dataset="speech_commands")], {})
    assert dict(rendered.facts)[f"at {scale} scale"].startswith(text)

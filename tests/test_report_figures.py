import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.fake_rows import COLUMNS, LINES, TABLE, row, table_rows
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from defensive_tensorization.errors import UsageError
from defensive_tensorization.report import accuracy_figure, figures
from defensive_tensorization.report.audit_figure import headline
from defensive_tensorization.report.dots import dots
from defensive_tensorization.report.figure_caption import not_run, panels
from defensive_tensorization.report.figures import robust_vs_epsilon
from defensive_tensorization.report.formats import write
from defensive_tensorization.report.index import write_index
from defensive_tensorization.report.tables import Column, Table, render
from defensive_tensorization.report.wrapping import points, wrapped
from defensive_tensorization.results.row import Row


def description(path: Path) -> str:
    with Image.open(path) as image:
        return str(image.info["Description"])


def test_lines_pass_through_the_means(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matplotlib import pyplot

    kept = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    path = tmp_path / "deep" / "f.png"
    robust_vs_epsilon(table_rows(), COLUMNS, ["fgsm", "pgd"], path, title="Figure 1")
    monkeypatch.undo()
    fgsm, pgd = kept[0].axes
    assert (fgsm.get_title(), pgd.get_title()) == ("FGSM", "PGD")
    assert fgsm.get_xlabel() == "ε (1/255)"
    assert [line.get_label() for line in pgd.lines] == [column.label for column in COLUMNS]
    assert list(fgsm.lines[1].get_xdata()) == [0, 2, 8]
    assert list(fgsm.lines[1].get_ydata()) == pytest.approx([85, 82, 70])
    band = fgsm.collections[1].get_paths()[0].vertices
    assert sorted({round(float(y), 6) for x, y in band if x == 8}) == [69, 71]
    looks = {(line.get_marker(), str(line.get_linestyle())) for line in pgd.lines}
    assert len(looks) == len(COLUMNS)
    pyplot.close(kept[0])


def test_published_values_are_hollow_marks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matplotlib import pyplot

    kept = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    printed = {
        ("clean", 0.0, "baseline"): 93.0,
        ("fgsm", 8.0, "baseline"): 20.0,
        ("pgd", 8.0, "baseline"): 1.0,
        ("fgsm", 8.0, "another"): 50.0,
    }
    path = robust_vs_epsilon(
        table_rows(), COLUMNS, ["fgsm", "pgd"], tmp_path / "f.png", published=printed
    )
    monkeypatch.undo()
    hollow = [
        dict(zip(*line.get_data(), strict=True))
        for axis in kept[0].axes
        for line in axis.lines
        if line.get_markerfacecolor() == "none"
    ]
    assert hollow == [{0.0: 93.0, 8.0: 20.0}, {0.0: 93.0, 8.0: 1.0}]
    assert "Hollow marks: published." in description(path)
    without = robust_vs_epsilon(table_rows(), COLUMNS, ["fgsm"], tmp_path / "g.png")
    assert "Hollow" not in description(without)
    pyplot.close(kept[0])


def test_an_audit_s_figure_names_network_accuracy_and_verdict() -> None:
    told = {
        "name": "NoisyNet",
        "unit": 1 / 255,
        "budget": {"epsilon": 8.0},
        "verdict": {
            "words": "not robust at the stated level",
            "accuracy": {"estimate": 0.125, "low": 0.08, "high": 0.19},
        },
    }
    assert headline(told) == (
        "NoisyNet: keeps 12.5% (8.0 to 19.0) at ε = 8/255; not robust at the stated level"
    )


def test_caption_under_the_figure(tmp_path: Path) -> None:
    path = robust_vs_epsilon(table_rows(), COLUMNS, ["fgsm"], tmp_path / "f.png")
    for part in ("at cpu scale", "data: CIFAR-10, JPEG q75 (folder)", "n = 1,000", "seeds: 3"):
        assert part in description(path)
    assert "not run" not in description(path)


def test_missing_points_are_named(tmp_path: Path) -> None:
    rows = [each for each in table_rows() if each.protocol != "pgd-8" or each.recipe != "recipe-c"]
    path = robust_vs_epsilon(rows, COLUMNS, ["fgsm", "pgd"], tmp_path / "f.png")
    assert "not run: 1 of 15 cells: PGD at ε = 8 of Ours θ = 0.8." in description(path)
    nothing = robust_vs_epsilon([], COLUMNS, ["pgd"], tmp_path / "g.png")
    assert "rows: none yet" in description(nothing)


def stopped(rows: list[Row]) -> list[Row]:
    """The attacks of these rows as Foolbox 1.x ran them."""
    return [replace(r, attack=f"foolbox1_{r.attack}") for r in rows if r.attack != "clean"]


ALL = ["foolbox1_fgsm", "foolbox1_pgd", "fgsm", "pgd"]


def test_what_was_not_run_is_counted_and_placed_in_a_few_words() -> None:
    rows = table_rows()
    both = [*rows, *stopped(rows)]
    assert not_run(COLUMNS, ALL, both) == ""
    assert not_run(COLUMNS, ALL, rows) == (
        "not run: 12 of 27 cells: those stopped at the first miss"
    )
    assert not_run(COLUMNS, ALL, [r for r in both if r.recipe != "recipe-b"]) == (
        "not run: 9 of 27 cells: all of Ours θ = 0.95"
    )
    some = [r for r in both if r.recipe == "recipe-a" or not (r.attack == "pgd" and r.epsilon > 2)]
    assert not_run(COLUMNS, ALL, [r for r in some if r.attack != "foolbox1_pgd"]) == (
        "not run: 8 of 27 cells: PGD stopped at the first miss of Baseline; PGD stopped at the "
        "first miss, PGD at ε = 8 of Ours θ = 0.95 and Ours θ = 0.8"
    )
    assert not_run(COLUMNS, ALL, [r for r in rows if r.recipe != "recipe-b"]) == (
        "not run: 17 of 27 cells: those stopped at the first miss; all others of Ours θ = 0.95"
    )


def test_panels_of_attacks_that_nobody_ran_are_left_out() -> None:
    rows = table_rows()
    assert panels(ALL, rows) == [["fgsm", "pgd"]]
    assert panels(ALL, [*rows, *stopped(rows)]) == [ALL[:2], ALL[2:]]
    assert panels(ALL[:2], rows) == [ALL[:2]] and panels([], []) == [[]]


def inked(path: Path, margin: int) -> bool:
    """Whether anything is drawn within so many pixels of the left or right edge."""
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L"))
    return bool((grey[:, :margin] < 200).any() or (grey[:, -margin:] < 200).any())


@pytest.mark.sharp
def test_a_long_caption_stays_within_the_picture(tmp_path: Path) -> None:
    """A word of the old captions ran out of the frame: foolbox1_pgd 16 of Ours."""
    wide = "WWWW_MMMM, " * 60
    rows = [replace(r, data=wide) for r in table_rows()]
    path = robust_vs_epsilon(rows, COLUMNS, ["fgsm", "pgd", "bim"], tmp_path / "f.png")
    with Image.open(path) as image:
        assert image.size[0] == pytest.approx(7.2 * 200, abs=1)
    assert not inked(path, 4)
    far = robust_vs_epsilon(table_rows(), COLUMNS, ["pgd"], tmp_path / "g.png", title="W" * 200)
    assert inked(far, 4)  # the check can fail


def test_lines_of_text_are_as_long_as_they_can_be() -> None:
    text = wrapped("iii WWW " * 40 + "\nanother", 3.0, 8)
    *lines, last = text.split("\n")
    assert last == "another" and len(lines) > 3
    widths = [points(line, 8) for line in lines]
    assert max(widths) <= 3.0 * 72
    assert min(widths[:-1]) + points(" WWW", 8) > 3.0 * 72 / 1.03
    assert points("WWWW", 8) == pytest.approx(points("WWWW", 16) / 2, rel=0.01)
    assert wrapped("W" * 100, 1.0, 8) == "W" * 100 and wrapped("", 1.0, 8) == ""


def test_many_methods_have_a_place_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from matplotlib import pyplot

    kept = []
    monkeypatch.setattr(pyplot, "close", kept.append)
    printed = {("pgd", 8.0, "baseline"): 1.0, ("fgsm", 8.0, "another"): 50.0}
    path = dots(
        *(table_rows(), COLUMNS, ["fgsm", "pgd"], tmp_path / "f.png"),
        title="Table 2",
        published=printed,
        copied="of another network: Baseline",
    )
    monkeypatch.undo()
    fgsm, pgd = kept[0].axes
    assert [text.get_text() for text in fgsm.get_yticklabels()] == [c.label for c in COLUMNS]
    assert "Hollow marks: published (of another network: Baseline). Marks: " in description(path)
    for axis, attack in ((fgsm, "fgsm"), (pgd, "pgd")):
        held = [line for line in axis.containers]
        for bars, epsilon in zip(held, (0.0, 2.0, 8.0), strict=True):
            of = attack if epsilon else "clean"
            for place, column in enumerate(COLUMNS):
                mine = [
                    100 * r.robust_accuracy
                    for r in table_rows()
                    if (r.attack, r.epsilon, r.recipe) == (of, epsilon, column.recipe)
                ]
                x, y = bars.lines[0].get_data()
                assert x[place] == pytest.approx(np.mean(mine))
                assert abs(y[place] - place) < 0.5  # in its own place
    hollow = [
        line.get_data()[0]
        for axis in (fgsm, pgd)
        for line in axis.lines
        if line.get_markerfacecolor() == "none"
    ]
    assert [value for values in hollow for value in values] == [1.0]
    pyplot.close(kept[0])


def test_a_table_s_picture_is_lines_or_places(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Places for many methods at few epsilons; Figure 1 has many epsilons, which make a curve."""
    drawn: list[str] = []
    for kind in ("dots", "robust_vs_epsilon"):
        monkeypatch.setattr(accuracy_figure, kind, lambda *_, kind=kind, **__: drawn.append(kind))
    many = tuple(Column(str(i), "", f"recipe-{i}") for i in range(6))
    curve = tuple(("fgsm", float(epsilon)) for epsilon in range(1, 9))
    for columns, lines in ((COLUMNS, LINES), (many, LINES), (many, curve)):
        table = Table("t", "T", columns, lines)
        accuracy_figure.accuracy_figure(render(table, [], {}), table_rows(), {}, tmp_path / "f.png")
    assert drawn == ["robust_vs_epsilon", "dots", "robust_vs_epsilon"]
    none = accuracy_figure.accuracy_figure(render(TABLE, [], {}), [], {}, tmp_path / "f.png")
    assert none == [] and len(drawn) == 3


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    paths = [
        robust_vs_epsilon(rows, COLUMNS, ["pgd"], tmp_path / name)
        for rows, name in ((table_rows(), "a.png"), (table_rows()[::-1], "b.png"))
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_picture_is_not_blank(tmp_path: Path) -> None:
    path = robust_vs_epsilon(table_rows(), COLUMNS, ["pgd"], tmp_path / "f.png")
    with Image.open(path) as image:
        assert np.asarray(image.convert("L")).std() > 10


def test_two_data_and_too_many_methods_are_refused(tmp_path: Path) -> None:
    other = row(data="other", data_digest="e")
    with pytest.raises(UsageError, match="--data TITLE"):
        robust_vs_epsilon([*table_rows(), other], COLUMNS, ["fgsm"], tmp_path / "f.png")
    many = COLUMNS * len(figures.STYLES)
    with pytest.raises(ValueError, match="at most 8 methods in one figure, got 24"):
        robust_vs_epsilon([], many, ["fgsm"], tmp_path / "f.png")


def test_index_lists_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "cpu"
    folder.mkdir()
    assert "Nothing rendered yet." in write_index(folder).read_text()
    write(render(TABLE, table_rows(), {}), folder)
    robust_vs_epsilon(table_rows(), COLUMNS, ["fgsm"], folder / "figure1.png", title="FGSM, ε")
    (folder / "rows").mkdir()
    (folder / "rows" / "run.jsonl").touch()
    listed = write_index(folder).read_text()
    assert listed.startswith("# Results at `cpu` scale\n")
    title = "Table 1: Real-valued network on CIFAR-10"
    assert f"- [table1.md](table1.md): {title} ([csv](table1.csv), [tex](table1.tex))" in listed
    assert "- [figure1.png](figure1.png): FGSM, ε" in listed
    assert "Row files in [rows](rows): 1." in listed
    assert write_index(folder).read_text() == listed


def test_a_figure_with_data_of_its_own_has_a_page(tmp_path: Path) -> None:
    for name, title in (("figure2", "One draw"), ("figure2_mean", "Mean")):
        Image.new("L", (1, 1)).save(tmp_path / f"{name}.png", pnginfo=titled(title))
        (tmp_path / f"{name}.pdf").touch()
    (tmp_path / "figure2.md").write_text("# Figure 2\n")
    (tmp_path / "figure2.npz").touch()
    (tmp_path / "figure4.md").write_text("# Figure 4\n")
    listed = write_index(tmp_path).read_text()
    assert "## Tables" not in listed
    links = "[caption](figure2.md), [data](figure2.npz), [pdf](figure2.pdf)"
    assert f"- [figure2.png](figure2.png): One draw ({links})\n" in listed
    assert "- [figure2_mean.png](figure2_mean.png): Mean ([pdf](figure2_mean.pdf))\n" in listed
    assert "- [figure4.md](figure4.md): Figure 4\n" in listed


def test_a_figure_that_is_no_table_s_leads_to_its_numbers(tmp_path: Path) -> None:
    for name in ("surface", "table1"):
        Image.new("L", (1, 1)).save(tmp_path / f"{name}.png", pnginfo=titled(name))
        (tmp_path / f"{name}.md").write_text(f"# {name}\n")
    (tmp_path / "table1.csv").touch()
    listed = write_index(tmp_path).read_text()
    assert "- [surface.png](surface.png): surface ([numbers](surface.md))\n" in listed
    assert "- [table1.png](table1.png): table1\n" in listed


def titled(title: str) -> PngInfo:
    info = PngInfo()
    info.add_text("Title", title)
    return info


def test_report_never_imports_torch() -> None:
    rooms = (
        "accuracy_figure caption contours dots figures formats index landscapes published readings "
        "selection surface_figure tables"
    )
    imports = "; ".join(f"import defensive_tensorization.report.{room}" for room in rooms.split())
    code = f"{imports}; import sys; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]

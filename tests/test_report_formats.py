import csv
import io
import random
import re
from dataclasses import replace
from pathlib import Path

from helpers.fake_rows import COLUMNS, LINES, TABLE, row, table_rows

from defensive_tensorization.report.formats import latex, markdown, records, text, tidy, write
from defensive_tensorization.report.tables import Column, Rendered, Table, render

PUBLISHED = {
    ("clean", 0.0, "baseline"): 95.3,
    ("fgsm", 8.0, "ours_0.95"): 65.4,
    ("pgd", 8.0, "ours_0.8"): 42.9,
}


def rendered(seeds: int = 3) -> Rendered:
    rows = [
        each
        for each in table_rows(seeds)
        if (each.attack, each.epsilon, each.recipe) != ("pgd", 8.0, "recipe-c")
    ]
    return render(TABLE, rows, PUBLISHED)


def test_markdown_cells() -> None:
    lines = markdown(rendered()).splitlines()
    assert lines[0] == "# Table 1: Real-valued network on CIFAR-10"
    assert lines[2] == "| Attack | ε | Baseline | Ours θ = 0.95 | Ours θ = 0.8 |"
    assert lines[4].startswith("| Clean |  | 90.0 ± 0.0 (95.3) |")
    assert lines[6] == "| FGSM | 8 | 59.0 ± 1.0 | 70.0 ± 1.0 (65.4) | 70.3 ± 1.0 |"
    assert lines[8].endswith("| — (42.9) |")
    assert {line.count("|") for line in lines[2:9]} == {6}
    assert "missing: 1 of 15 cells" in markdown(rendered())


def test_one_seed_shows_no_deviation() -> None:
    assert "| FGSM | 8 | 58.0 |" in markdown(rendered(seeds=1))
    assert "nan" not in markdown(rendered(seeds=1)).lower()


def test_csv_parses_back() -> None:
    found = list(csv.DictReader(io.StringIO(tidy(records(rendered())))))
    assert len(found) == len(LINES) * len(COLUMNS)
    named = {(r["attack"], float(r["epsilon"]), r["method"]): r for r in found}
    whole = named["fgsm", 8.0, "Ours θ = 0.95"]
    assert float(whole["ours_mean"]) == 70.0
    assert float(whole["ours_std"]) == 1.0
    assert (whole["n"], whole["seeds"], whole["published"]) == ("1000", "3", "65.4")
    assert float(whole["difference"]) == 4.6
    blank = named["pgd", 8.0, "Ours θ = 0.8"]
    assert (blank["ours_mean"], blank["ours_std"], blank["n"], blank["difference"]) == ("",) * 4
    assert (blank["seeds"], blank["published"]) == ("0", "42.9")
    assert named["pgd", 2.0, "Baseline"]["published"] == ""


def test_records_of_a_zero_are_not_missing() -> None:
    table = Table("t", "T", (Column("Baseline", "baseline", "recipe-a"),), (("fgsm", 8.0),))
    zero = render(table, [row(robust_accuracy=0.0)], {("fgsm", 8.0, "baseline"): 0.0})
    assert records(zero)[0] == {
        "attack": "fgsm",
        "epsilon": 8.0,
        "method": "Baseline",
        "ours_mean": 0.0,
        "ours_std": None,
        "n": 1000,
        "seeds": 1,
        "published": 0.0,
        "difference": 0.0,
        "rows": "rows/cifar10-resnet18-real-theta0.95-seed0-abcd.jsonl",
        "protocol": "p" * 12,
    }
    assert "| 0.0 (0.0) |" in markdown(zero)


def test_every_cell_names_the_rows_that_it_is_the_mean_of() -> None:
    """By its file and protocol alone, the mean can be computed again."""
    rows = [each for each in table_rows() if each.protocol != "pgd-8" or each.theta != 0.8]
    found = list(csv.DictReader(io.StringIO(tidy(records(render(TABLE, rows, {}))))))
    for cell in found:
        mine = [
            100 * each.robust_accuracy
            for each in rows
            if f"rows/{each.run_id}.jsonl" == cell["rows"] and each.protocol == cell["protocol"]
        ]
        assert len(mine) == int(cell["seeds"])
        assert cell["ours_mean"] == (f"{round(sum(mine) / 3, 4)}" if mine else "")
    assert [cell["rows"] for cell in found].count("") == 1


def test_markdown_leads_from_a_column_to_its_file_commit_and_command() -> None:
    rows = [
        replace(each, commit="abc1234" if each.eval_seed else "0ff", dirty=each.eval_seed == 1)
        for each in table_rows()
    ]
    text = markdown(render(TABLE, rows, {}))
    for place, column in enumerate(COLUMNS):
        file = f"rows/run-{place}.jsonl"
        command = "`python -m defensive_tensorization`"
        line = f"- {column.label}: [{file}]({file}), commit 0ff, abc1234, abc1234+, by {command}"
        assert line in text.splitlines()
    assert "rows/" not in markdown(render(TABLE, [], {}))


def test_tex_is_well_formed() -> None:
    tex = latex(rendered())
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", tex) for word in ("begin", "end"))
    assert begun == ["table", "tabular"] and ended == ["tabular", "table"]
    plain = re.sub(r"\\[{}&%$#_\\]", "", tex)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert "%" not in plain and "#" not in plain
    body = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert len(body) == 1 + len(LINES)
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {1 + len(COLUMNS)}
    assert re.search(r"\\begin{tabular}{(\w+)}", tex).group(1) == "lr" + "r" * len(COLUMNS)
    assert tex.isascii()
    assert r"\label{tab:table1}" in tex
    assert r"\caption{Real-valued network on CIFAR-10. " in tex
    assert tex.count(r"\midrule") == 3


def test_tex_escapes_what_people_write() -> None:
    awkward = r"50% of A&B_c {x} #1 $ ~ ^ \ <>"
    table = Table("t", awkward, (Column(awkward, "", "recipe-a"),), (("fgsm", 8.0),))
    tex = latex(render(table, [row()], {}))
    escaped = (
        r"50\% of A\&B\_c \{x\} \#1 \$ \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"\textless{}\textgreater{}"
    )
    assert f"& {escaped} \\\\" in tex
    assert f"caption{{{escaped}. " in tex


def test_text_is_aligned() -> None:
    lines = text(rendered()).splitlines()
    assert lines[2].split()[:3] == ["Attack", "ε", "Baseline"]
    grid = [lines[2], *lines[4:9]]
    assert len({len(line) for line in grid}) == 1
    assert not any("|" in line for line in lines)
    assert "missing: 1 of 15 cells" in text(rendered())


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    rows = table_rows()
    first = write(render(TABLE, rows, PUBLISHED), tmp_path / "a")
    shuffled = random.Random(2).sample(rows, len(rows))
    second = write(render(TABLE, shuffled, PUBLISHED), tmp_path / "b")
    assert [path.name for path in first] == ["table1.md", "table1.csv", "table1.tex"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_what_the_paper_copied_is_starred_and_named() -> None:
    source = "published elsewhere (Lin et al. 2019)"
    filled = render(TABLE, table_rows(), PUBLISHED, elsewhere={("pgd", 8.0, "ours_0.8"): source})
    told = markdown(filled)
    assert "(42.9*)" in told and "(65.4)" in told
    assert f"in brackets the published value (*: {source}, of another network);" in told
    copied = {(r["attack"], r["epsilon"], r["method"]): r["elsewhere"] for r in records(filled)}
    assert [key for key, value in copied.items() if value] == [("pgd", 8.0, "Ours θ = 0.8")]
    assert "*" not in markdown(rendered()) and "elsewhere" not in tidy(records(rendered()))

"""A table of texts, read back from each of its forms."""

import csv
import io

from helpers.html_page import read
from hypothesis import given
from hypothesis import strategies as st

from defensive_tensorization.report.markdown_page import html
from defensive_tensorization.system.table import console, markdown, tidy

LINES = [["run", "n", "by"], ["a", "10", "x"], ["longer", "1", ""]]
WORDS = st.text("ab|\\` θ", max_size=5).map(str.strip)


def test_a_terminal_has_aligned_columns() -> None:
    assert console(LINES, left=(0, 2)).splitlines() == [
        "run      n  by",
        "a       10  x",
        "longer   1",
    ]
    ruled = console(LINES, ruled=True).splitlines()
    assert ruled[1] == "-" * 14 and ruled[2:] == ["a       10   x", "longer   1"]


def test_markdown_sets_columns_left_and_right() -> None:
    head, rule, *body = markdown(LINES, left=[2]).splitlines()
    assert (head, rule) == ("| run | n | by |", "| ---: | ---: | --- |")
    assert body == ["| a | 10 | x |", "| longer | 1 |  |"]
    assert markdown(LINES, tight=True).splitlines()[1] == "|---|---:|---:|"


def test_a_bar_in_a_cell_ends_no_cell() -> None:
    table = read(html(markdown([["a|b", "c"], ["|", "`x|y`"]])))
    assert [cell.text for cell in table.all("th")] == ["a|b", "c", "|"]
    assert [cell.text for cell in table.all("td")] == ["x|y"]


@given(st.lists(st.lists(WORDS | st.none() | st.integers(), min_size=2, max_size=2), min_size=1))
def test_csv_is_read_back(lines: list[list[object]]) -> None:
    read_back = list(csv.reader(io.StringIO(tidy(lines), newline="")))
    assert read_back == [["" if each is None else str(each) for each in line] for line in lines]

"""Templates: what is filled in is escaped, what is missing is an error, and nothing loads early."""

import re
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest
from helpers.html_page import read

from defensive_tensorization.errors import MissingExtra
from defensive_tensorization.report import template
from defensive_tensorization.report.html_table import Cell, HtmlTable
from defensive_tensorization.report.template import TEX, fill

FOLDER = Path(template.__file__).parent / "templates"
ODD = "<b> & \"q\" 'r' {x} 50% a_b \\ $ # ~ ^ θ ± — {{ 1 }}"


def test_html_escapes_texts_and_attributes() -> None:
    table = HtmlTable(ODD, ODD, [ODD], [[Cell(ODD, ODD, links=[(ODD, ODD)], small=ODD)]], ids=[ODD])
    found = read(fill("table.html", table=table))
    cell = found.one("tbody").one("th")
    assert cell.text == ODD + ODD and cell.attributes["data-value"] == ODD
    assert cell.one("a").attributes["href"] == ODD and found.one("caption").text == ODD
    assert found.one("div").attributes["aria-label"] == ODD
    assert found.one("tbody").one("tr").attributes["id"] == ODD
    assert not found.all("b")


def test_latex_escapes_every_special_character() -> None:
    """Read back by the inverse of the table of escapes, longest first."""
    made = fill(
        "table.tex",
        caption=ODD,
        name="n",
        columns="lr",
        header=[ODD, "b"],
        lines=[("g", [ODD, "1"])],
    )
    escaped = made.split("\\caption{")[1].split("}\n\\label")[0]
    assert made.count(escaped) == 3 and f"{escaped} & b \\\\\n" in made
    special = {text: character for character, text in TEX.items()}
    longest = sorted(special, key=len, reverse=True)
    back = re.sub("|".join(map(re.escape, longest)), lambda each: special[each[0]], escaped)
    assert back == ODD


def test_a_midrule_stands_between_groups_alone() -> None:
    lines = [(group, [group, "1"]) for group in "aabcc"]
    made = fill("table.tex", caption="", name="n", columns="lr", header=["", ""], lines=lines)
    body = made.split("\\midrule\n", 1)[1].split("\\bottomrule")[0]
    assert [part.count(" & ") for part in body.split("\\midrule\n")] == [2, 1, 2]


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'grid' is undefined"):
        fill("networks.md")
    with pytest.raises(jinja2.UndefinedError):
        fill("frame.html", page="")


def test_every_template_compiles_and_is_used() -> None:
    """By a module, or by another template."""
    package = FOLDER.parents[1]
    sources = "".join(path.read_text() for path in package.rglob("*.py"))
    others = "".join(path.read_text() for path in FOLDER.iterdir())
    names = [path.name for path in FOLDER.glob("*.jinja")]
    assert len(names) > 15
    for name in names:
        stem = name.removesuffix(".jinja")
        template._environment(stem.rpartition(".")[2]).get_template(name)
        assert f'"{stem}"' in sources or f'"{name}"' in others, name


def test_neither_the_import_nor_help_loads_jinja() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['x', '--help']\n"
        "import defensive_tensorization, defensive_tensorization.report.audits\n"
        "from defensive_tensorization.cli import main\n"
        "try:\n    main()\nexcept SystemExit as error:\n    assert not error.code, error.code\n"
        "print(sorted({'jinja2', 'markdown'} & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_jinja_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    template._environment.cache_clear()
    line = 'jinja2 is not installed: pip install "defensive-tensorization[experiments]"'
    with pytest.raises(MissingExtra, match=re.escape(line)):
        fill("networks.md", grid=[["a"]])

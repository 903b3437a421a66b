"""Numbers in README.md and docs/*.md, rendered from the committed csv files and benchmarks.

    make docs-numbers                          # render every marked block anew
    python scripts/docs_numbers.py --check     # exit 1 and name the pages whose blocks are stale

A block stands between two comments; what is between them is replaced:

    <!-- begin: results/cpu/table1.csv rows=attack,epsilon columns=method value=ours_mean
         attack=clean|pgd epsilon=0|2|8 -->
    | attack | epsilon | Baseline | ...
    <!-- end -->

`rows` and `columns` name fields of the csv, `value` the field that is shown with one decimal;
`values` names several fields, which are the columns then; `digits=2` shows two decimals;
`std=yes` adds ± and the field NAME_std. An averaged value that is an upper bound gets a †. Every
other key=a|b keeps the lines whose field has one of the values (quote what holds spaces), and its
order is the order of rows and columns. Fields and attacks are shown in a reader's words: ε for
epsilon, "PGD stopped at the first miss" for foolbox1_pgd. Without `rows` and `columns` one line
must remain: its value stands in the sentence as a percentage. The lines of a benchmark's json are
its ratios, with the fields ratio, minimum and median.
"""

import csv
import json
import re
import shlex
import sys
from pathlib import Path

from defensive_tensorization.report.attack_names import shown
from defensive_tensorization.system.table import markdown

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"(<!-- begin: (?P<words>.*?) -->)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
TYPED = re.compile(r"\d+(?:\.\d+)?(?:\s?%| points?\b)")
WORDS = {  # of fields, where a reader needs others
    "gradient_cosine": "cosine of two draws' gradients",
    "epsilon": "ε",
    "stopped": "stopped at the first miss",
    "full": "full budget",
    "averaged": "averaged over draws",
    "ours_mean": "ours",
    "clean_at_1": "clean at θ = 1",
    "batchnorm": "BatchNorm",
    "table1": "Table 1",
    "table3": "Table 3",
    **{attack: shown(attack) for attack in ("foolbox1_pgd", "pgd", "eot_pgd")},
}
CODE = re.compile(r"^```.*?^```|^ {4}.*?$", re.DOTALL | re.MULTILINE)
Line = dict[str, str]


def pages(root: Path = ROOT) -> list[Path]:
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def rendered(text: str, root: Path = ROOT) -> str:
    """The page with every block made anew; ValueError for one that cannot be."""

    def block(match: re.Match[str]) -> str:
        start, words, _, end = match.groups()
        return f"{start}{_snippet(words, root)}{end}"

    if text.count("<!-- begin: ") != len(BLOCK.findall(text)):
        raise ValueError("a block has no end: close each `<!-- begin: ... -->` by `<!-- end -->`")
    return BLOCK.sub(block, text)


def typed(text: str) -> list[str]:
    """Percentages and points outside of blocks and code: typed by hand."""
    return TYPED.findall(CODE.sub("", BLOCK.sub("", text)))


def _snippet(words: str, root: Path) -> str:
    path, *pairs = shlex.split(words)
    options = dict(pair.split("=", 1) for pair in pairs)
    rows = [name for name in options.pop("rows", "").split(",") if name]
    columns, value = options.pop("columns", ""), options.pop("value", "value")
    values = [name for name in options.pop("values", "").split(",") if name]
    digits = int(options.pop("digits", "1"))
    spread = options.pop("std", "no") == "yes"
    wanted = {name: each.split("|") for name, each in options.items()}
    lines = _lines(root / path)
    for name in [*rows, *filter(None, [columns]), *(values or [value]), *wanted]:
        if name not in lines[0]:
            raise ValueError(f"{path} has no field {name!r}: take one of {', '.join(lines[0])}")
    kept = [
        line
        for line in lines
        if all(_among(line[n], each) is not None for n, each in wanted.items())
    ]
    if values:
        columns, value = "_field", "_value"
        wanted["_field"] = values
        kept = [_of_field(line, name, spread) for line in kept for name in values]
    if not columns:
        return f"{_number(_only(kept, words), value, digits)}%"
    table = _table(kept, rows, columns, value, wanted, words, digits)
    return f"\n{table}\n"


def _of_field(line: Line, name: str, spread: bool) -> Line:
    """The line with one field's value, and the marks that belong to this field."""
    return {
        **line,
        "_field": name,
        "_value": line[name],
        "_std": line.get(f"{name}_std", "") if spread else "",
        "_bound": line.get("upper_bound", "") if name == "averaged" else "",
    }


def _lines(path: Path) -> list[Line]:
    if path.suffix == ".json":
        ratios = json.loads(path.read_text())["ratios"]
        return [
            {"ratio": name, "minimum": str(each["minimum"]), "median": str(each["median"])}
            for name, each in ratios.items()
        ]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _table(
    kept: list[Line], rows: list[str], columns: str, value: str, wanted: dict[str, list[str]],
    words: str, digits: int,
) -> str:  # fmt: skip
    def order(line: Line, names: list[str]) -> tuple[int, ...]:
        return tuple(_among(line[n], wanted[n]) or 0 if n in wanted else 0 for n in names)

    across = list(
        dict.fromkeys(x[columns] for x in sorted(kept, key=lambda x: order(x, [columns])))
    )
    down = list(
        dict.fromkeys(tuple(x[n] for n in rows) for x in sorted(kept, key=lambda x: order(x, rows)))
    )
    lines = [[*map(_field, rows), *(_head(columns, each) for each in across)]]
    for at in down:
        row = [x for x in kept if tuple(x[n] for n in rows) == at]
        cells = [
            _number(
                _only([x for x in row if x[columns] == name], f"{words}: {at}, {name}"),
                value,
                digits,
            )
            for name in across
        ]
        told = (shown(v) if n == "attack" else _plain(v) for n, v in zip(rows, at, strict=True))
        lines.append([*told, *cells])
    return markdown(lines, range(len(rows)))


def _field(name: str) -> str:
    return WORDS.get(name, name.replace("_", " "))


def _head(columns: str, value: str) -> str:
    if columns == "epsilon":
        return f"ε = {float(value):g}" if float(value) else "clean"
    if columns == "attack":
        return WORDS.get(value, shown(value))
    return _field(value) if columns in ("_field", "table") else value


def _among(value: str, wanted: list[str]) -> int | None:
    """The place of a value, numbers compared as such."""
    plain = [_plain(each) for each in wanted]
    return plain.index(_plain(value)) if _plain(value) in plain else None


def _plain(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value


def _only(lines: list[Line], words: str) -> Line:
    if len(lines) != 1:
        raise ValueError(f"{words}: {len(lines)} lines of the csv fit, one must: filter further")
    return lines[0]


def _number(line: Line, value: str, digits: int) -> str:
    if not line[value]:
        return "—"
    number = f"{float(line[value]):.{digits}f}"
    if line.get("_std"):
        number += f" ± {float(line['_std']):.{digits}f}"
    if line.get("_bound"):
        number += "†"
    return f"{number}{' (not converged)' if line.get('refused') else ''}"


def main(words: list[str]) -> int:
    if words not in ([], ["--check"]):
        print(f"{' '.join(words)}: the one option is --check", file=sys.stderr)
        return 2
    stale = 0
    for page in pages():
        text = page.read_text()
        try:
            made = rendered(text)
        except (OSError, ValueError) as error:
            print(f"{page.relative_to(ROOT)}: {error}", file=sys.stderr)
            return 2
        if made != text:
            stale += 1
            print(f"{page.relative_to(ROOT)}: {'stale, run make docs-numbers' if words else 'new'}")
            if not words:
                page.write_text(made)
    return int(bool(words and stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

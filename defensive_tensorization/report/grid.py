"""A rendered table as HTML: as the paper lays it out, and cell by cell; both can be sorted."""

from html import escape

from defensive_tensorization.report.formats import Record, records
from defensive_tensorization.report.markup import cell, link, scrolled, tag
from defensive_tensorization.report.tables import BRACKETS, Cell, Rendered
from defensive_tensorization.results.row import Row

MISSING = tag("span", "not run", class_="missing")
NONE = tag("span", "—", class_="missing")


def anchor(row: Row) -> str:
    """Where the page shows the rows of this one's network and protocol."""
    weights = f"-{row.weights}" if row.weights else ""
    return f"rows-{row.fingerprint}{weights}-{row.protocol}"


def points(value: float) -> str:
    """A difference in percentage points, with its sign."""
    return f"{value:+.1f}".replace("-", "−")


def attack_label(attack: str) -> str:
    return "Clean" if attack == "clean" else attack.upper()


def matrix(rendered: Rendered) -> str:
    """Attacks and epsilons down, methods across; each cell leads to its rows."""
    table = rendered.table
    heads = ["Attack", "ε", *(column.label for column in table.columns)]
    lines = []
    found = iter(records(rendered))
    for (attack, epsilon), cells in zip(table.lines, rendered.cells, strict=True):
        lines.append(
            tag(
                "tr",
                cell(attack_label(attack), header=True),
                cell("" if attack == "clean" else f"{epsilon:g}", value=epsilon),
                *(_both(each, next(found)) for each in cells),
            )
        )
    legend = rendered.legend.replace(BRACKETS, "below it the published value and the difference")
    caption = tag("caption", escape(f"{legend}."))
    return scrolled(
        tag("table", caption, _head(heads), tag("tbody", *lines), class_="sortable matrix"),
        table.title,
    )


def by_cell(rendered: Rendered) -> str:
    """One line a cell: published, ours, difference in points, and the way to its rows."""
    table = rendered.table
    flat = [each for line in rendered.cells for each in line]
    heads = ["Attack", "ε", "Method", "Published", "Ours", "± std", "Difference", "n", "Seeds"]
    lines = []
    for record, of in zip(records(rendered), flat, strict=True):
        lines.append(
            tag(
                "tr",
                cell(attack_label(str(record["attack"])), header=True),
                cell("" if record["attack"] == "clean" else f"{record['epsilon']:g}"),
                cell(escape(str(record["method"]))),
                _number(record["published"], of.elsewhere),
                _number(record["ours_mean"], absent=MISSING),
                _number(record["ours_std"]),
                _difference(record["difference"]),
                cell(NONE if of.ours is None else f"{of.ours.n:,}", value=record["n"] or ""),
                cell(
                    NONE if of.ours is None else str(record["seeds"]), value=record["seeds"] or ""
                ),
                cell(link(f"#{anchor(of.rows[0])}", "rows") if of.rows else NONE),
            )
        )
    caption = tag("caption", f"{escape(table.title)}, cell by cell, in % and percentage points.")
    return scrolled(
        tag(
            "table",
            caption,
            _head([*heads, "Rows"]),
            tag("tbody", *lines),
            class_="sortable cells",
        ),
        f"{table.title}, cell by cell",
    )


def _head(labels: list[str]) -> str:
    return tag("thead", tag("tr", *(tag("th", escape(each), scope="col") for each in labels)))


def _both(of: Cell, record: Record) -> str:
    """Ours above what is published and the difference."""
    paper = ""
    if of.published is not None:
        paper = f"paper {of.published:.1f}{'*' if of.elsewhere else ''}"
        if record["difference"] is not None:
            paper += f", {points(float(record['difference']))}"
        paper = tag("small", paper)
    if of.ours is None:
        return cell(MISSING + paper, value="")
    mean, std = 100 * of.ours.robust_mean, of.ours.robust_std
    text = f"{mean:.1f}" + ("" if std is None else f" ± {100 * std:.1f}")
    return cell(link(f"#{anchor(of.rows[0])}", text) + paper, value=f"{mean:.4f}")


def _number(value: object, star: bool = False, absent: str = NONE) -> str:
    if value is None:
        return cell(absent, value="")
    return cell(f"{value:.1f}" + "*" * star, value=value)


def _difference(value: object) -> str:
    if not isinstance(value, float):
        return cell(NONE, value="")
    return cell(points(value), value=value)

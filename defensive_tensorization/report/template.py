"""Fill the templates beside this module: pages in HTML, Markdown and LaTeX.

HTML and LaTeX escape whatever is filled in, Markdown the cells of its tables.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defensive_tensorization.errors import from_extra
from defensive_tensorization.system import table

if TYPE_CHECKING:
    from jinja2 import Environment

TEX_MARKS = {  # those of jinja2 mean something else in LaTeX
    "variable_start_string": "<<",
    "variable_end_string": ">>",
    "block_start_string": "<%",
    "block_end_string": "%>",
    "comment_start_string": "<#",
    "comment_end_string": "#>",
}
TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "ε": r"$\varepsilon$",
    "θ": r"$\theta$",
    "±": r"$\pm$",
    "—": "---",
    "–": "--",
}


def fill(name: str, /, **values: object) -> str:
    """Fill templates/<name>.jinja; the ending of its name says what is escaped.

    Raises:
        MissingExtra: where jinja2 is not installed.
        jinja2.UndefinedError: where the template names a value that is not given.
    """
    kind = name.rpartition(".")[2]
    return _environment(kind).get_template(f"{name}.jinja").render(values)


@cache
def _environment(kind: str) -> "Environment":
    with from_extra():
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup

    def latex(value: object) -> str:
        if isinstance(value, Markup):  # what a macro made
            return value
        return Markup("".join(TEX.get(character, character) for character in str(value)))

    own: dict[str, Any] = {"finalize": latex, **TEX_MARKS} if kind == "tex" else {}
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=kind in ("html", "tex"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **own,
    )
    made.filters["table"] = table.markdown
    return made

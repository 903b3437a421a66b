"""Our pages in Markdown become elements; HTML and addresses that run something stay text."""

import pytest
from helpers.html_page import Element, read

from defensive_tensorization.report.markdown_page import html

TEXT = """## Head & `code`

A paragraph of **bold [link](rows/a.jsonl)**
over two lines, <b>no html</b>.

| check | pass |
|:---|---:|
| `a` \\| b | yes |
| short |

- one
- two
  goes on

1. first
2. second

```
| not | a table |
<b>
```
![a plot](plot.png) [bad](javascript:alert) [good](https://example.org)
"""


def shape(of: Element) -> list[object]:
    return [c.strip() if isinstance(c, str) else (c.name, shape(c)) for c in of.children]


def words(of: Element) -> str:
    """Its text as a browser shows it."""
    return " ".join(of.text.split())


def test_a_page_in_markdown_becomes_elements() -> None:
    document = read(html(TEXT, lambda name: f"data:{name}"))
    assert [e.name for e in document.children if isinstance(e, Element)] == [
        *("h4", "p", "div", "ul", "ol", "pre", "p")
    ]
    assert document.one("h4").text == "Head & code"
    first, last = document.all("p")
    assert words(first) == "A paragraph of bold link over two lines, <b>no html</b>."
    assert first.one("strong").one("a").attributes == {"href": "rows/a.jsonl"}
    assert [th.text for th in document.one("thead").all("th")] == ["check", "pass"]
    body = document.one("tbody").all("tr")
    assert [[c.text for c in line.children if isinstance(c, Element)] for line in body] == [
        ["a | b", "yes"],
        ["short", ""],
    ]
    assert [words(li) for li in document.one("ul").all("li")] == ["one", "two goes on"]
    assert [li.text for li in document.one("ol").all("li")] == ["first", "second"]
    assert document.one("pre").text.strip() == "| not | a table |\n<b>"
    assert document.one("img").attributes == {"src": "data:plot.png", "alt": "a plot"}
    assert [a.text for a in last.all("a")] == ["good"]
    assert "[bad](javascript:alert)" in last.text


def test_html_in_a_page_is_shown_as_text() -> None:
    text = 'A <b onclick="x">name</b>, <script>alert(1)</script>\n\n<div>\n\n| <i>a</i> |\n|---|'
    document = read(html(text))
    assert not any(document.all(name) for name in ("b", "script", "i"))
    assert "<script>alert(1)</script>" in document.text and "<i>a</i>" in document.text


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "java&#115;cript:alert(1)",
        "JAVASCRIPT:x",
        "data:text/html,x",
        "vbscript:x",
    ],
)
def test_an_address_that_runs_something_is_no_link(address: str) -> None:
    document = read(html(f"[a name]({address}) and <{address}>"))
    assert not document.all("a") and "[a name](" in document.text


def test_words_with_underscores_and_stars_stay_as_they_are() -> None:
    text = "honest_table1 under foolbox1_pgd (*: another paper), 65.4*"
    assert words(read(html(text))) == text

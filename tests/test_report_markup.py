"""Elements are escaped, and Markdown's common part becomes them."""

from helpers.html_page import Element, read

from defensive_tensorization.report.markup import cell, markdown, tag

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


def test_markdown_by_hand() -> None:
    html = markdown(TEXT, lambda name: f"data:{name}")
    document = read(html)
    assert [e.name for e in document.children if isinstance(e, Element)] == [
        *("h4", "p", "div", "ul", "ol", "pre", "p")
    ]
    assert document.one("h4").text == "Head & code"
    first, last = document.all("p")
    assert first.text == "A paragraph of bold link over two lines, <b>no html</b>."
    assert first.one("strong").one("a").attributes == {"href": "rows/a.jsonl"}
    assert [th.text for th in document.one("thead").all("th")] == ["check", "pass"]
    body = document.one("tbody").all("tr")
    assert [[c.text for c in line.children if isinstance(c, Element)] for line in body] == [
        ["a | b", "yes"],
        ["short", ""],
    ]
    assert [li.text for li in document.one("ul").all("li")] == ["one", "two goes on"]
    assert [li.text for li in document.one("ol").all("li")] == ["first", "second"]
    assert document.one("pre").text == "| not | a table |\n<b>"
    assert document.one("img").attributes == {"src": "data:plot.png", "alt": "a plot"}
    assert [a.text for a in last.all("a")] == ["good"]
    assert "[bad](javascript:alert)" in last.text


def test_elements_escape_their_attributes_and_leave_out_none() -> None:
    made = tag("a", "x", href='"<&', class_="c", aria_label=None, data_value=0)
    assert made == '<a href="&quot;&lt;&amp;" class="c" data-value="0">x</a>'
    assert tag("img", src="a") == '<img src="a">'
    assert cell("1", header=True) == '<th scope="row">1</th>'
    assert cell("1", value="") == '<td data-value="">1</td>'

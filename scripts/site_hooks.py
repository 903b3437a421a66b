"""What the site changes of the pages in docs/: a link to a file of the repository becomes a path.

GitHub follows ../results/cpu/table1.md; the site holds docs/ alone, so it names the file instead.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"!?\[([^\]]*)\]\((\.\./[^)#\s]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links out of docs/. Raises FileNotFoundError for one that leads nowhere."""

    def named(found: "re.Match[str]") -> str:
        target = found[2].removeprefix("../")
        if not (ROOT / target).exists():
            raise FileNotFoundError(f"{page.file.src_path}: {found[2]} is not in the repository")
        text = found[1].strip("`")
        return f"`{target}`" if text == target or not text else f"{found[1]} (`{target}`)"

    return LINK.sub(named, markdown)

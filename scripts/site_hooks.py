"""What the site changes of the pages in docs/: a link to a file of the repository becomes a path.

GitHub follows ../results/cpu/table1.md; the site holds docs/ alone, so it names the file instead.
A picture of results/ is copied into the site.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PICTURE = re.compile(r"!\[([^\]]*)\]\(\.\./results/([^)\s]+\.png)\)")
LINK = re.compile(r"!?\[([^\]]*)\]\((\.\./[^)#\s]+)(#[^)]*)?\)")


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the pictures that pages show. Raises FileNotFoundError for one that is not there."""
    from mkdocs.structure.files import File

    pages = sorted((ROOT / "docs").glob("*.md"))
    for name in dict.fromkeys(m[2] for page in pages for m in PICTURE.finditer(page.read_text())):
        path = ROOT / "results" / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not in the repository")
        files.append(File.generated(config, _address(name), abs_src_path=str(path)))
    return files


def _address(picture: str) -> str:
    return f"pictures/{picture.replace('/', '-')}"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links out of docs/. Raises FileNotFoundError for one that leads nowhere."""

    def named(found: "re.Match[str]") -> str:
        target = found[2].removeprefix("../")
        if not (ROOT / target).exists():
            raise FileNotFoundError(f"{page.file.src_path}: {found[2]} is not in the repository")
        text = found[1].strip("`")
        return f"`{target}`" if text == target or not text else f"{found[1]} (`{target}`)"

    shown = PICTURE.sub(lambda found: f"![{found[1]}]({_address(found[2])})", markdown)
    return LINK.sub(named, shown)

"""The figures of a folder as data within a page."""

import base64
from html import escape
from pathlib import Path

from PIL import Image

from defensive_tensorization.report.markup import link, scrolled, tag

KINDS = {".png": "image/png", ".svg": "image/svg+xml"}


class Pictures:
    """The folder's figures as data in the page, each shown once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left = {path.name for path in folder.glob("*") if path.suffix in KINDS}

    def address(self, name: str) -> str:
        """The picture itself; what is no picture of the folder keeps its address."""
        path = self.folder / name
        if path.suffix not in KINDS or not path.is_file():
            return name
        self.left.discard(name)
        return f"data:{KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"

    def figure(self, name: str) -> str:
        """With its own title and description; "" where there is none."""
        if not (self.folder / name).is_file():
            return ""
        title, about = Path(name).stem, ""
        if name.endswith(".png"):
            with Image.open(self.folder / name) as image:
                title = image.info.get("Title", title)
                about = image.info.get("Description", "")
                width, height = image.size
        alt = f"{title}. {about}".strip()
        size = {"width": width, "height": height} if name.endswith(".png") else {}
        vector = Path(name).with_suffix(".pdf").name
        more = f" {link(vector, 'PDF')}" if (self.folder / vector).is_file() else ""
        caption = tag("figcaption", f"{escape(title)}{more}")  # the rest is written in the picture
        picture = tag("img", src=self.address(name), alt=alt, **size)
        return tag("figure", scrolled(picture, f"figure: {title}"), caption)

    def rest(self) -> list[str]:
        """Those that nothing has shown; one of two forms."""
        names = sorted(self.left)
        return [n for n in names if n.endswith(".png") or Path(n).stem + ".png" not in names]

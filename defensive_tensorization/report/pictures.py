"""The figures of a folder as data within a page."""

import base64
from pathlib import Path

from PIL import Image

from defensive_tensorization.report.template import fill

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
        title, about, size = Path(name).stem, "", None
        if name.endswith(".png"):
            with Image.open(self.folder / name) as image:
                title = image.info.get("Title", title)
                about = image.info.get("Description", "")
                size = image.size
        vector = Path(name).with_suffix(".pdf").name
        return fill(
            "figure.html",
            title=title,  # the rest is written in the picture
            alt=f"{title}. {about}".strip(),
            address=self.address(name),
            size=size,
            vector=vector if (self.folder / vector).is_file() else "",
        )

    def rest(self) -> list[str]:
        """Those that nothing has shown; one of two forms."""
        names = sorted(self.left)
        return [n for n in names if n.endswith(".png") or Path(n).stem + ".png" not in names]

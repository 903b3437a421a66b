"""Text in lines that fit a picture, by the widths of its letters."""

PAGE = 7.2
"""Inches across a picture that is as wide as a page: its text is printed at the size it names."""


def wrapped(text: str, inches: float, size: float) -> str:
    """Break `text` into lines of at most `inches`, set at `size` points in matplotlib's own font.

    Lines that the text has already stay apart. A word that is wider has a line of its own.
    """
    limit = 72 * inches / 1.03  # points; hinting makes drawn letters a little wider
    return "\n".join(_broken(line.split(), limit, size) for line in text.split("\n"))


def points(text: str, size: float) -> float:
    """Measure a line of text: its width in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=size), ismath=False
    )
    return float(width)


def _broken(words: list[str], limit: float, size: float) -> str:
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else ""
        if lines and points(longer, size) <= limit:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)

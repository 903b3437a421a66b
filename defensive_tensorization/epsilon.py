"""An epsilon that was written in another library's unit, and the one warning about it."""

_told: set[float] = set()


def settled(epsilon: float) -> None:
    """The person has been told about this epsilon, or wrote its unit: no warning follows."""
    _told.add(epsilon)


def warning(epsilon: float, unit: float) -> str | None:
    """One line for an epsilon that looks like an amplitude; None for others, and the second time.

    Args:
        epsilon: in the data's unit; 8 means 8/255 on images.
        unit: the amplitude of one unit; where it is 1, epsilon is an amplitude indeed.
    """
    if unit >= 1 or not 0 < epsilon < 1 or epsilon in _told:
        return None
    settled(epsilon)
    per = round(1 / unit)
    near = round(epsilon / unit) or 1
    return (
        f"epsilon {epsilon:g} is {epsilon:g}/{per}; {near}/{per} is written {near} or {near}/{per}"
    )

"""What a row costs: the unit in which progress is shown and times are estimated."""

from collections.abc import Mapping


def passes(
    scored: int, steps: int = 0, averaged: int = 1, options: Mapping[str, object] | None = None
) -> int:
    """Forward passes an example, a gradient counted as two more; about.

    Args:
        scored: draws that the accuracies are the mean of.
        steps: of the attack, each with `averaged` gradients; 0 for clean examples.
        options: the attack's; `sizes` are of a search that few examples go through whole.
    """
    sizes = str((options or {}).get("sizes", ""))
    return scored + 3 * steps * averaged + (int(sizes) if sizes.isdecimal() else 0)


def gradients(draws: int, knowledge: str, random: bool) -> int:
    """Gradients that a step takes: K, or one where nothing is random to the attacker.

    Args:
        draws: K, over which the attack averages.
        random: whether two forwards of the evaluated network can differ.
    """
    return draws if random and knowledge == "fresh" else 1

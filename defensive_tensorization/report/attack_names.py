"""Attacks as a reader calls them: `foolbox1_pgd` is PGD stopped at the first miss."""

STOPS = "foolbox1_"  # begins the name of an attack that ends an image at its first miss


def shown(attack: str) -> str:
    """The name in a table, a picture or a sentence; "clean" is the accuracy without an attack."""
    if attack == "clean":
        return "Clean"
    stops = " stopped at the first miss" if attack.startswith(STOPS) else ""
    return attack.removeprefix(STOPS).upper().replace("_", "-") + stops

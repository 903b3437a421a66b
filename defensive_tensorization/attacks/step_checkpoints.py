"""Attacks of which one is the beginning of the next."""

from collections.abc import Iterator, Sequence

from .attack import Attack


def walks(
    attacks: Sequence[Attack | None], *, together: bool = True
) -> Iterator[list[Attack] | None]:
    """The attacks in their order (None: clean), those that `continue` one another as one walk."""
    walk: list[Attack] = []
    for attack in attacks:
        if walk and not (together and attack and attack.continues(walk[-1])):
            yield walk
            walk = []
        if attack:
            walk.append(attack)
        else:
            yield None
    if walk:
        yield walk

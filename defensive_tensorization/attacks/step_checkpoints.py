"""Attacks of which one is the beginning of the next."""

from collections.abc import Iterator, Sequence

from .attack import Attack


def group_by_steps(
    attacks: Sequence[Attack | None], *, together: bool = True
) -> Iterator[list[Attack] | None]:
    """The attacks in their order (None: clean), those that `continue` one another as one walk."""
    group: list[Attack] = []
    for attack in attacks:
        if group and not (together and attack and attack.continues(group[-1])):
            yield group
            group = []
        if attack:
            group.append(attack)
        else:
            yield None
    if group:
        yield group

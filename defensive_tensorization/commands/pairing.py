"""Which rows of two networks can be paired: the same attack on the same images.

What belongs to the network (defence, BatchNorm, draws, precision) may differ. What belongs to the
attack (steps, step size, images, data) must not.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from ..results.row import Row
from ..results.scores import Answers


class Attacked(NamedTuple):
    """One attack on one set of images.

    `step_size` is in the unit of `epsilon`. The last three are None where the network has no such
    thing: nothing random whose draws could be averaged or shared by a batch, no transform of the
    input. None agrees with every value.
    """

    attack: str
    epsilon: float
    steps: int
    step_size: float
    random_start: bool
    knowledge: str
    options: str
    images: str
    n: int
    data: str
    averaged: int | None
    batch_size: int | None
    input: str | None

    @property
    def order(self) -> tuple[object, ...]:
        """Clean accuracy comes first; the numbers ascend."""
        told = tuple(
            (each is not None, each or 0) for each in self[1:] if not isinstance(each, str)
        )
        return self.attack != "clean", self.attack, *told, *map(str, self)

    def differences(self, other: "Attacked") -> list[str]:
        """Name what differs, with both values."""
        return [
            f"{WORDS.get(name, name)} {a or 'none'} and {b or 'none'}"
            for name, a, b in zip(self._fields, self, other, strict=True)
            if a != b and not (name in FREE and None in (a, b))
        ]


FREE = ("averaged", "batch_size", "input")
"""Fields that are None where the network has no such thing."""
WORDS = {
    "step_size": "step size",
    "random_start": "random start",
    "averaged": "K",
    "batch_size": "images a draw",
}


class Variant(NamedTuple):
    """How a network was evaluated; the rows of one run can hold several."""

    defence: str
    sketch: bool
    batchnorm: str
    autocast: str

    def __str__(self) -> str:
        parts = [f"defence={self.defence}", *(() if self.sketch else ("at theta=1",))]
        precision = self.autocast or "precision not recorded"
        return ", ".join([*parts, f"BatchNorm {self.batchnorm}", precision])


class Evaluated(NamedTuple):
    """The rows of one variant: by attack and evaluation seed, one row each.

    `ambiguous` are the attacks of which several rows differ and the rows do not say by what.
    """

    variant: Variant
    rows: dict[Attacked, dict[int, Row]]
    ambiguous: tuple[Attacked, ...]

    @property
    def all(self) -> list[Row]:
        return [row for seeds in self.rows.values() for row in seeds.values()]

    @property
    def first(self) -> Row:
        return self.all[0]

    @property
    def own(self) -> bool:
        """Whether the defence is the one that the network was trained with."""
        row, names = self.first, self.first.run_id.split("-")
        if row.defence == "tensorization":
            return any(name.startswith("theta") for name in names)
        return ("dense" if row.defence == "none" else row.defence) in names


def variants(rows: Sequence[Row]) -> list[Evaluated]:
    """Sort the rows that have per-image answers by variant."""
    found: dict[Variant, dict[Attacked, dict[int, list[Row]]]] = {}
    for row in rows:
        if row.correct:
            of = Variant(row.defence, row.sketch, row.batchnorm, row.autocast)
            seeds = found.setdefault(of, {}).setdefault(_attacked(row), {})
            seeds.setdefault(row.eval_seed, []).append(row)
    made = []
    for variant, attacks in sorted(found.items()):
        clear = {
            attack: {seed: of[0] for seed, of in seeds.items()}
            for attack, seeds in attacks.items()
            if all(len({_answered(row) for row in of}) == 1 for of in seeds.values())
        }
        if clear:
            made.append(Evaluated(variant, clear, tuple(a for a in attacks if a not in clear)))
    return made


def best_pair(a: Sequence[Evaluated], b: Sequence[Evaluated]) -> tuple[Evaluated, Evaluated]:
    """Choose the variants to compare: as trained, at its own theta, in one precision, of most rows.

    Raises:
        ValueError: where one of them has no variant.
    """

    def rank(pair: tuple[Evaluated, Evaluated]) -> tuple[bool, int, int, bool, int]:
        shared = sum(1 for _ in pairs(*pair))
        first, second = (each.variant for each in pair)
        return (
            shared > 0,
            sum(each.own for each in pair),
            first.sketch + second.sketch,
            first.autocast == second.autocast,
            shared,
        )

    return max(product(a, b), key=rank)


def pairs(a: Evaluated, b: Evaluated) -> Iterator[tuple[Attacked, list[Row], list[Row]]]:
    """Yield each attack that both met, with the rows of both under the seeds that both have."""
    for (mine, ours), (other, theirs) in product(a.rows.items(), b.rows.items()):
        seeds = sorted(ours.keys() & theirs.keys())
        if seeds and not mine.differences(other):
            known = {name: getattr(other, name) for name in FREE if getattr(mine, name) is None}
            yield mine._replace(**known), [ours[s] for s in seeds], [theirs[s] for s in seeds]


def unlike(a: Evaluated, b: Evaluated) -> dict[tuple[str, float], str]:
    """Return why an attack of the same name and epsilon is not paired, by name and epsilon."""
    paired = {attacked[:2] for attacked, _, _ in pairs(a, b)}
    nearest: dict[tuple[str, float], list[str]] = {}
    for (mine, ours), (other, theirs) in product(a.rows.items(), b.rows.items()):
        if mine[:2] == other[:2] and mine[:2] not in paired:
            seeds = [] if ours.keys() & theirs.keys() else ["evaluation seeds"]
            found = mine.differences(other) + seeds
            known = nearest.get(mine[:2])
            nearest[mine[:2]] = found if known is None or len(found) < len(known) else known
    return {at: ", ".join(of) for at, of in sorted(nearest.items())}


def _attacked(row: Row) -> Attacked:
    unit = row.epsilon / row.epsilon_absolute if row.epsilon_absolute else 0.0
    batch = re.search(r"per batch of (\d+)", row.draws) if row.random else None
    options = {name: of for name, of in row.settings.items() if name != "draws"}
    return Attacked(
        row.attack,
        row.epsilon,
        row.steps,
        round(row.step_size * unit, 6),
        row.random_start,
        row.knowledge,
        " ".join(f"{name}={of}" for name, of in options.items()),
        row.subset,
        row.n,
        row.data_digest,
        row.averaged if row.random and row.attack != "clean" else None,
        int(batch[1]) if batch else None,
        row.input or None,
    )


def _answered(row: Row) -> tuple[str, str, str]:
    return row.correct, row.votes, row.by_draw


def answers(rows: Sequence[Row]) -> list[Answers]:
    return [Answers.decoded(*_answered(row)) for row in rows]

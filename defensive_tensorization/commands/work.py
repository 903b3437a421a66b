"""Work that is left: networks to train and rows to make."""

from dataclasses import dataclass, field

from ..config import Config


@dataclass(frozen=True)
class Scoring:
    """A row to be made: its key but for the data, and what decides its time."""

    recipe: str
    protocol: str
    seed: int
    kind: tuple[object, ...]
    images: int | None
    passes: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.recipe, self.protocol, self.seed


@dataclass
class Work:
    """Networks to train, by recipe, with the epochs that are left, and rows to make."""

    trainings: dict[str, tuple[Config, int]] = field(default_factory=dict)
    scorings: dict[tuple[str, str, int], Scoring] = field(default_factory=dict)

    def add(self, other: "Work") -> None:
        self.trainings |= other.trainings
        self.scorings |= other.scorings

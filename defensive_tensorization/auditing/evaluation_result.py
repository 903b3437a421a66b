"""What an evaluation found: shares of images and draws, with their intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..attacks import Attack
from ..errors import UnknownName
from ..randomness import Randomness
from ..results.scores import Answers, Interval, interval

Anybodys = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""An attack: (model, x, y) to x_adv."""


@dataclass(frozen=True)
class Score:
    """What is left under one attack; shares of all images.

    accuracy   right answers over images and draws; `interval` at 95%, over both.
    votes      images whose most frequent answer is right; a tie is wrong.
    lucky      images that the votes get right although some draw misses: an attack that stops at
               the first miss counts them as broken.
    answers    `correct` [N], the right answers of `draws` for each image.
    """

    name: str
    attack: Attack | Anybodys | None
    answers: Answers

    @property
    def accuracy(self) -> float:
        return self.answers.accuracy

    @property
    def interval(self) -> Interval:
        return interval([self.answers])

    @property
    def votes(self) -> float:
        return interval([self.answers], "majority").estimate

    @property
    def lucky(self) -> float:
        return interval([self.answers], "lucky").estimate

    @property
    def correct(self) -> Any:
        """[N], each image's share of right answers."""
        return self.answers.correct / self.answers.draws

    def __str__(self) -> str:
        found = self.interval
        return (
            f"{self.name}: {100 * found.estimate:.1f}% [{100 * found.low:.1f}, "
            f"{100 * found.high:.1f}], votes {100 * self.votes:.1f}%, lucky hits "
            f"{100 * self.lucky:.1f}%"
        )


@dataclass(frozen=True)
class Evaluation:
    """`scores`: clean, then each attack in its order; the shares at the top are the strongest's."""

    scores: tuple[Score, ...]
    random: Randomness
    images: int

    def __getitem__(self, name: str) -> Score:
        """The score of `clean`, or of an attack by its name. Raises UnknownName for any other."""
        found = {score.name: score for score in self.scores}
        if name not in found:
            raise UnknownName(f"{name!r} was not run: take one of {', '.join(found)}")
        return found[name]

    @property
    def clean(self) -> Score:
        return self.scores[0]

    @property
    def strongest(self) -> Score:
        """The attack that leaves least; clean where there is none."""
        return min(self.scores[1:], key=lambda score: score.accuracy, default=self.clean)

    @property
    def accuracy(self) -> float:
        return self.strongest.accuracy

    @property
    def interval(self) -> Interval:
        return self.strongest.interval

    @property
    def votes(self) -> float:
        return self.strongest.votes

    @property
    def lucky(self) -> float:
        return self.strongest.lucky

    def __str__(self) -> str:
        draws = self.clean.answers.draws
        head = f"{self.images} images, {draws} draw{'s' * (draws > 1)}; {self.random}"
        return "\n".join([head, *(f"  {score}" for score in self.scores)])

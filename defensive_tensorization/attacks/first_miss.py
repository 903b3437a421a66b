"""The search of Foolbox 1.8 on a batch: each image stops at the first forward that misses it.

Every forward and every gradient is a call of its own, so on a randomized network each meets a
draw of its own. An image that has stopped leaves the batch: it takes part in no further call.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .native import Bounds, gradient

SEARCHES = 20
"""Foolbox's k: enlargements, then halvings, of a binary search; sizes of FGSM's second pass."""


class Misses:
    """Foolbox's `Adversarial`, of a batch: each image's miss of the smallest mean squared distance.

    The constructor predicts the unperturbed images once: those it misses are at distance 0.

    Args:
        model: images [B, ...] to logits [B, C].
        x: unperturbed images [B, ...].
        y: labels [B].
        bounds: smallest and largest value of a pixel.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, bounds: Bounds) -> None:
        self.model, self.x, self.y, self.bounds = model, x, y, bounds
        self.best = x.clone()
        self.distance = x.new_full((len(x),), math.inf)
        self.predict(x, torch.arange(len(x), device=x.device))

    @property
    def correct(self) -> Tensor:
        """The images that are attacked: places [n] of those not missed at distance 0."""
        return (self.distance > 0).nonzero()[:, 0]

    def predict(self, points: Tensor, who: Tensor) -> Tensor:
        """Predict points [n, ...] of the images at places `who` [n]; [n], whether each is missed.

        A miss is kept where it is nearer than the image's nearest so far.
        """
        with torch.no_grad():
            missed: Tensor = self.model(points).argmax(1) != self.y[who]
        if bool(missed.any()):
            of, made = who[missed], points[missed]
            distance = (made - self.x[of]).flatten(1).square().mean(1)
            nearer = distance < self.distance[of]
            self.best[of[nearer]] = made[nearer]
            self.distance[of[nearer]] = distance[nearer]
        return missed


def sign_sizes(misses: Misses, sizes: Tensor, again: int | None) -> None:
    """FGSM (Eq. 1) of growing size, after `GradientSignAttack`.

    The sign of one gradient, at the image, is scaled by each of `sizes` [S] (amplitudes, ascending)
    until a forward misses. A second pass tries 20 equal sizes up to where that was, for the images
    missed among the first `again` sizes, and 20 up to the largest, for those never missed. None: no
    second pass.
    """
    who = misses.correct
    if not len(who):
        return
    direction = gradient(misses.model, misses.x[who], misses.y[who]).sign()
    first = _sweep(misses, who, direction, sizes[:, None].expand(-1, len(who)))
    if again is None:
        return
    more = first < again  # -1: never missed
    if bool(more.any()):
        last = sizes[first[more]]  # at -1 the largest
        parts = torch.arange(1, SEARCHES + 1, device=sizes.device) / SEARCHES
        _sweep(misses, who[more], direction[more], parts[:, None] * last)


def _sweep(misses: Misses, who: Tensor, direction: Tensor, sizes: Tensor) -> Tensor:
    """The number [n] of the first of sizes [S, n] that misses each image; -1: none does."""
    first = torch.full((len(who),), -1, device=who.device)
    left = torch.arange(len(who), device=who.device)
    x = misses.x[who]
    for number, size in enumerate(sizes):
        points = (x + direction * _wide(size[left], x)).clamp(*misses.bounds)
        missed = misses.predict(points, who[left])
        if bool(missed.any()):
            first[left[missed]] = number
            left, x, direction = left[~missed], x[~missed], direction[~missed]
        if not len(left):
            break
    return first


@dataclass(frozen=True)
class Iterated:
    """BIM and PGD (Eq. 2), after `IterativeProjectedGradientBaseAttack._run_one`.

    Args:
        steps: at most so many, each followed by a prediction; the first miss ends the image's run.
        noise: the start's offset [n, ...] for images [n, ...], uniform in [-1, 1), in units of the
            radius; None: the image itself. The start is not clipped to the bounds, nor predicted.
    """

    steps: int
    noise: Callable[[Tensor], Tensor] | None

    def __call__(self, misses: Misses, who: Tensor, radius: Tensor, step: Tensor) -> Tensor:
        """One run for the images at places `who` [n], radius and step [n] amplitudes; [n], whether
        each was missed."""
        success = torch.zeros(len(who), dtype=torch.bool, device=who.device)
        left = torch.arange(len(who), device=who.device)
        x = misses.x[who]
        now = x if self.noise is None else x + self.noise(x) * _wide(radius, x)
        for _ in range(self.steps):
            if not len(left):
                break
            ball, size = _wide(radius[left], x), _wide(step[left], x)
            now = now + size * gradient(misses.model, now, misses.y[who[left]]).sign()
            now = (x + (now - x).clamp(-ball, ball)).clamp(*misses.bounds)
            missed = misses.predict(now, who[left])
            if bool(missed.any()):
                success[left[missed]] = True
                left, x, now = left[~missed], x[~missed], now[~missed]
        return success


def binary_search(misses: Misses, run: Iterated, radius: float, step: float) -> None:
    """Foolbox's `binary_search=True`: the smallest radius whose run misses, each image its own.

    The radius grows by half, up to 20 times, until a run misses; then 20 halvings of the interval
    below it. The step keeps its share of the radius, and every run starts anew.
    """
    who = misses.correct
    good = torch.full((len(who),), radius, dtype=torch.float64, device=who.device)

    def misses_at(places: Tensor, at: Tensor) -> Tensor:
        at = at.to(misses.x.dtype)
        return run(misses, who[places], at, at * (step / radius))

    left = torch.arange(len(who), device=who.device)
    for _ in range(SEARCHES):
        left = left[~misses_at(left, good[left])]
        if not len(left):
            break
        good[left] *= 1.5
    found = torch.ones(len(who), dtype=torch.bool, device=who.device)
    found[left] = False
    places = found.nonzero()[:, 0]
    good, bad = good[places], torch.zeros_like(good[places])
    for _ in range(SEARCHES if len(places) else 0):
        middle = (good + bad) / 2
        hit = misses_at(places, middle)
        good, bad = torch.where(hit, middle, good), torch.where(hit, bad, middle)


def _wide(values: Tensor, x: Tensor) -> Tensor:
    """[n], to be multiplied with x [n, ...]."""
    return values.view(-1, *[1] * (x.ndim - 1))

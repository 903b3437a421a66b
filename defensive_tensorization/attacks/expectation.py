"""Everything an attack asks of a randomized network, as an average over K of its draws.

What is averaged (z_k: logits of draw k, L: the objective that the attack raises):

    loss         mean_k L(z_k), whose gradient is the mean of the draws' (Athalye et al. 2018)
    gradient     the same loss; the direction is mean_k g_k / |g_k|_1, each draw's gradient at unit
                 length (as Dong et al. 2018 add up steps'): no rare draw with a huge one outvotes
                 the others
    probability  L(log mean_k softmax(z_k)): a vote by mean probability
    majority     the same loss, but a point counts as right by the most votes, as a majority is
                 scored (a tie is wrong): votes have no gradient, only a count
    logit        L(mean_k z_k), as in Foolbox

The draws run in a loop, or batched (`batching`).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import sketching
from ..errors import UsageError
from ..randomness import varies
from .batching import draws_more, most_together, repeatable

Objective = Callable[[Tensor, Tensor], Tensor]
"""(logits [B, C], labels [B]) to what the attack raises, [B]."""

AVERAGES = ("gradient", "loss", "probability", "majority", "logit")


@dataclass(frozen=True)
class Estimate:
    """loss [B]; right [B], the share of draws (or whether the vote) is correct; gradient [B, ...],
    the direction that raises the loss, None where it was not asked for."""

    loss: Tensor
    right: Tensor
    gradient: Tensor | None = None


class Expectation:
    """The model's answers to points of x's shape, averaged; together=None: the automatic choice.

    A model whose logits never vary (`answers_vary`), and has no live sketch, is asked once, not K
    times. Whether they vary is looked at again where the search has gone, at its questions 1, 2, 4,
    8 and so on: a defence may be random beside the images alone. Where draws run as one, whether
    something beside the sketches does so is looked at again at questions 4, 16, 64 and so on.
    """

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        objective: Objective,
        *,
        draws: int = 1,
        average: str = "loss",
        together: int | None = None,
    ) -> None:
        self.model = model
        self.objective = objective
        self.average = average
        self.together = together or most_together(model, len(x), x.device)
        self.automatic = together is None
        if draws > 1 and self._repeats and not repeatable(model, x):
            self.together = 1
        self.example = x
        self.wanted, self.questions = draws, 0
        self.draws = draws if draws == 1 or self.random else 1

    @cached_property
    def random(self) -> bool:
        """Whether two draws can differ."""
        return answers_vary(self.model, self.example)

    def __call__(self, x: Tensor, y: Tensor, *, gradient: bool = True) -> Estimate:
        self._look_again(x)
        with torch.set_grad_enabled(gradient):
            leaf = x.detach().requires_grad_(gradient)
            linear = self.average in ("gradient", "loss")
            return self._mean(leaf, y) if linear else self._vote(leaf, y)

    @property
    def _repeats(self) -> bool:
        """Whether the draws of a batch run as one by the automatic choice."""
        return self.automatic and self.together > 1

    def _look_again(self, x: Tensor) -> None:
        self.questions += 1
        if self.questions & (self.questions - 1):  # no power of two
            return
        if self.draws < self.wanted and answers_vary(self.model, x):
            self.random, self.draws = True, self.wanted
        power_of_four = self.questions.bit_length() % 2 == 1  # it costs about a question
        if power_of_four and self._repeats and self.questions > 1 and draws_more(self.model, x):
            self.together = 1

    def _mean(self, x: Tensor, y: Tensor) -> Estimate:
        """Draw by draw: no more than one pass is held in memory."""
        loss, right = x.new_zeros(2, len(x))
        gradient = torch.zeros_like(x) if x.requires_grad else None
        for points, z in self._logits(x):
            each = self.objective(z.flatten(0, 1), y.repeat(len(z))).view(z.shape[:2]).sum(0)
            if gradient is not None:
                (of_draws,) = torch.autograd.grad(each.sum(), points)
                if self.average == "gradient":
                    of_draws = _unit(of_draws)
                gradient += of_draws.view(len(z), *x.shape).sum(0)
            loss = loss + each.detach()
            right = right + (z.argmax(2) == y).sum(0)
        k = self.draws
        return Estimate(loss / k, right / k, None if gradient is None else gradient / k)

    def _vote(self, x: Tensor, y: Tensor) -> Estimate:
        each = torch.cat([z for _, z in self._logits(x)])
        if self.average == "logit":
            z = each.mean(0)
        else:
            z = each.log_softmax(2).logsumexp(0) - math.log(self.draws)
        loss = self.objective(z, y)
        gradient = torch.autograd.grad(loss.sum(), x)[0] if x.requires_grad else None
        right = z.argmax(1) == y
        if self.average == "majority":
            votes = F.one_hot(each.argmax(2), each.shape[2]).sum(0)
            right = margin(votes.float(), y) < 0
        return Estimate(loss.detach(), right.float(), gradient)

    def _logits(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Points [k B, ...] and their logits [k, B, C] at a time, K in all."""
        for done in range(0, self.draws, self.together):
            k = min(self.together, self.draws - done)
            points = torch.cat([x] * k) if k > 1 else x  # keeps its layout
            with sketching.draws_per_batch(self.model, k) if k > 1 else nullcontext():
                z = self.model(points)
            yield points, z.unflatten(0, (k, len(x)))


def _unit(gradient: Tensor) -> Tensor:
    """Each example's gradient at an L1 norm of 1; a zero one has no direction: zero."""
    norm = _norm(gradient)
    if not norm.isfinite().all():
        gradient = torch.where(norm.isfinite(), gradient, _of_finite_entries(gradient))
        norm = _norm(gradient)
    return torch.where(norm > 0, gradient / norm, 0.0)


def _norm(gradient: Tensor) -> Tensor:
    """L1, of each example; in the gradient's number of dimensions."""
    norm: Tensor = gradient.flatten(1).norm(1, 1)
    return norm.view(-1, *[1] * (gradient.ndim - 1))


def _of_finite_entries(gradient: Tensor) -> Tensor:
    """In units of each example's largest finite entry, which infinite ones become; NaN is zero.

    A pixel whose slope is infinite says nothing of the others: the square root of a black one.
    """
    finite = gradient.isfinite()
    sizes = torch.where(finite, gradient, 0.0).abs().flatten(1).amax(1)
    largest = torch.where(sizes > 0, sizes, 1.0).view(-1, *[1] * (gradient.ndim - 1))
    signs = torch.where(gradient.isnan(), 0.0, gradient).sign()
    return torch.where(finite, gradient / largest, signs)


def answers_vary(model: nn.Module, x: Tensor) -> bool:
    """Whether a model can vary on x: it has a live sketch, or its answers differ (`varies`)."""
    return sketching.is_live(model) or varies(model, x, exactly=True)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """max_{i != y} z_i - z_y: positive where the prediction is wrong."""
    own = F.one_hot(y, logits.shape[1]).bool()
    highest: Tensor = logits.masked_fill(own, -math.inf).amax(1)
    return highest - logits.gather(1, y[:, None])[:, 0]


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Croce & Hein 2020: the margin in units of z_(1) - z_(3), so that no scale saturates it."""
    if logits.shape[1] < 3:
        raise UsageError(f"the DLR loss needs 3 classes, got {logits.shape[1]}: take loss=ce")
    top = logits.topk(3, 1).values
    return margin(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)

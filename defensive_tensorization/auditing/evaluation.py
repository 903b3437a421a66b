"""How many images anybody's model keeps under attacks: means over draws, with their interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..attacks import Attack
from ..attacks.attack import Ended
from ..attacks.guard import check_model, entered, limits
from ..attacks.numbers import whole
from ..attacks.scoring import check_finite, score_logits
from ..attacks.unchanged import unchanged
from ..errors import UsageError
from ..randomness import AT_EXAMPLES, Randomness, detect, kept, near, seeded, sources, varies
from ..results.scores import Answers
from ..sketching.control import whole_seed
from ..system.progress import bar
from . import inputs
from .binary import warn_of_real_weights
from .evaluation_result import Anybodys, Evaluation, Score
from .inputs import Data
from .lost_gradients import warn_of_lost_gradients
from .model_digest import tensor_digest
from .store import Piece, Store, digests

VERSION = 4  # raise it when the same settings attack or score otherwise


def evaluate(
    model: nn.Module,
    data: Data,
    attacks: Sequence[Attack | Anybodys] | Attack | Anybodys = (),
    samples: int = 30,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    batch_size: int = 100,
    seed: int = 0,
    cache: str | Path | None = None,
) -> Evaluation:
    """Attack each batch by each attack, and score it by fresh draws.

    The model is evaluated as it is, on its own device, and is as before afterwards; so is the
    random state. One batch is in memory at a time. All attacks are scored on the same draws.

    Args:
        model: x [B, ...] to logits [B, C].
        data: a pair of tensors (x [N, ...], y [N]), a DataLoader, any iterable of batches.
        attacks: from `dt.attacks`, or any callable (model, x, y) to x_adv; several, or one.
        samples: draws that score an image of a random model; a deterministic one is asked once. It
            counts as random if its answers vary at the images, beside them or at the examples.
        bounds: the lowest and the highest value of the data.
        batch_size: larger batches are split; where memory does not suffice, further.
        seed: of all random choices.
        cache: a folder that keeps what is finished; the same call goes on from there. A model that
            holds a hook or a function is not kept, with a warning.

    Raises:
        UsageError: for data or a model that cannot be evaluated, with the remedy.
    """
    samples, batch_size = whole("samples", samples), whole("batch_size", batch_size)
    bounds, seed = limits(bounds), whole_seed(seed)
    if samples > 255:
        raise UsageError(f"samples must be at most 255, got {samples}")
    aims: dict[str, Attack | Anybodys | None] = {"clean": None, **_named(attacks)}
    check_model(model)
    store = None
    if cache is not None and (identity := digests(cache, model)):
        store = Store(cache, "evaluate", VERSION, identity, bounds, seed, samples)
    found: dict[str, list[Answers]] = {name: [] for name in aims}
    run: _Run | None = None
    with kept(sources(model)), unchanged(model):
        for place, (x, y) in enumerate(_seen(data, batch_size)):
            entry = entered(model, x.to(device_of(model, x)), y, bounds)
            if run is None:
                with unchanged(model):  # these forwards do not count for a state in buffers
                    with torch.no_grad():
                        entry.model(entry.x[:8])  # refused here, where a line says why
                    random = _randomness(model, entry.x, entry.y, aims.values(), bounds)
                    warn_of_real_weights(model, entry.x)
                    if any(_by_gradients(attack) for attack in aims.values()):
                        warn_of_lost_gradients(model, entry.x, entry.y)
                run = _Run(model, bounds, samples, seed, store, random)
            for name, attack in aims.items():
                found[name].append(run.answers(name, attack, place, entry.x, entry.y))
    if run is None:
        raise UsageError(inputs.EMPTY)
    draws = max(piece.draws for pieces in found.values() for piece in pieces)
    scores = [
        Score(name, aims[name], reduce(Answers.__add__, [_times(p, draws) for p in pieces]))
        for name, pieces in found.items()
    ]
    random = AT_EXAMPLES if draws > 1 and not run.random else run.random
    return Evaluation(tuple(scores), random, len(scores[0].answers.correct))


def _randomness(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    attacks: Iterable[Attack | Anybodys | None],
    bounds: tuple[float, float],
) -> Randomness:
    """Found at the images, and in the ball of the largest attack; another's attack may be large."""
    known = [attack.radius for attack in attacks if isinstance(attack, Attack)]
    others = [attack for attack in attacks if not isinstance(attack, Attack | None)]
    radius = max([*known, *[(bounds[1] - bounds[0]) / 16 for _ in others]], default=0.0)
    if radius == 0:
        return detect(model, x)
    with seeded(model, 0, "beside"):
        beside = near(model, x, y, radius, bounds)
    return detect(model, x, beside)


def _by_gradients(attack: Attack | Anybodys | None) -> bool:
    return isinstance(attack, Attack) and attack.radius > 0 and attack.name != "square"


def device_of(model: nn.Module, x: Tensor) -> torch.device:
    first = next((p for p in [*model.parameters(), *model.buffers()]), x)
    return first.device


@dataclass(frozen=True)
class _Run:
    model: nn.Module
    bounds: tuple[float, float]
    samples: int
    seed: int
    store: Store | None
    random: Randomness

    def answers(
        self, name: str, attack: Attack | Anybodys | None, place: int, x: Tensor, y: Tensor
    ) -> Answers:
        def make() -> Piece:
            return _plain(self._fitting(attack, f"{name} {place}", place, x, y))

        known = attack is None or isinstance(attack, Attack)
        if self.store is None or not known:
            return _answers(make())
        key = (name, _told(attack), place, tensor_digest(x), tensor_digest(y))
        return _answers(self.store.remember(make, *key))

    def _fitting(
        self, attack: Attack | Anybodys | None, label: str, place: int, x: Tensor, y: Tensor
    ) -> Answers:
        """The batch in halves, and these in halves, where the device has no room for it."""
        try:
            return self._measured(attack, label, place, x, y)
        except torch.cuda.OutOfMemoryError:
            if len(x) == 1:
                raise
        half = len(x) // 2
        parts = ((f"{label} a", x[:half], y[:half]), (f"{label} b", x[half:], y[half:]))
        return reduce(
            Answers.__add__, [self._fitting(attack, name, place, *part) for name, *part in parts]
        )

    def _measured(
        self, attack: Attack | Anybodys | None, label: str, place: int, x: Tensor, y: Tensor
    ) -> Answers:
        at, ended = x, None
        if attack is not None:
            with seeded(self.model, self.seed, f"evaluate {label}"):
                at, ended = self._attacked(attack, x, y)
        model = entered(self.model, at, y, self.bounds).model
        draws = self.samples if self.random else 1
        if not self.random and attack is not None:
            with unchanged(self.model), seeded(self.model, self.seed, f"evaluate asking {place}"):
                draws = self.samples if varies(model, at) else 1
        with seeded(self.model, self.seed, f"evaluate scoring {place}"), torch.no_grad():
            logits = torch.stack([model(at) for _ in range(draws)])
        check_finite(logits, label)
        return replace(score_logits(logits, y, ended), outcome=None)

    def _attacked(
        self, attack: Attack | Anybodys, x: Tensor, y: Tensor
    ) -> tuple[Tensor, Ended | None]:
        if isinstance(attack, Attack):
            return attack.end(self.model, x, y, self.bounds)
        with unchanged(self.model):
            made = attack(self.model, x.clone(), y.clone())  # which it may overwrite
        if not (isinstance(made, Tensor) and made.shape == x.shape):
            raise UsageError(
                "an attack must return x_adv of the shape of x "
                f"{[*x.shape]}, got {getattr(made, 'shape', type(made).__name__)}"
            )
        return made.detach(), None


def _seen(data: Data, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches, with a line of progress where their number is known."""
    total = inputs.count(data, batch_size)
    made = inputs.batches(data, batch_size)
    return made if total is None else bar(made, total, "evaluate")


def _named(
    attacks: Sequence[Attack | Anybodys] | Attack | Anybodys,
) -> dict[str, Attack | Anybodys]:
    """By name; a name that comes again, or is that of the clean score, gets a number."""
    if not isinstance(attacks, Iterable | Callable):
        raise UsageError(
            f"attacks must be a list, got {type(attacks).__name__}: such as [dt.attacks.pgd(...)]"
        )
    found: dict[str, Attack | Anybodys] = {}
    for attack in [attacks] if callable(attacks) else attacks:
        if not callable(attack):
            raise UsageError(
                f"an attack must be callable as attack(model, x, y), got {type(attack).__name__}: "
                "take one of dt.attacks"
            )
        name = getattr(attack, "name", getattr(attack, "__name__", type(attack).__name__))
        taken = ["clean", *found]
        again = sum(each == name or each.startswith(f"{name} #") for each in taken)
        found[f"{name} #{again + 1}" if again else name] = attack
    return found


def _told(attack: Attack | Anybodys | None) -> Any:
    """What decides the result of an attack of ours."""
    if not isinstance(attack, Attack):
        return None
    return {f.name: getattr(attack, f.name) for f in fields(attack) if f.compare}


def _times(answers: Answers, draws: int) -> Answers:
    """One draw of what never varies, as so many equal ones; the answers of several as they are."""
    if answers.draws == draws:
        return answers
    by_draw = answers.by_draw.repeat(draws)
    return replace(answers, correct=answers.correct * draws, by_draw=by_draw)


def _plain(answers: Answers) -> Piece:
    names = ("correct", "majority", "probability", "by_draw")
    return {name: torch.as_tensor(np.asarray(getattr(answers, name))) for name in names}


def _answers(piece: Piece) -> Answers:
    return Answers(**{name: value.numpy() for name, value in piece.items()})

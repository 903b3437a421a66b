"""`dt.audit`: can a robust accuracy of anybody's model be believed?"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..attacks.guard import check_model, entered, limits
from ..attacks.numbers import real, whole
from ..attacks.unchanged import unchanged
from ..errors import UsageError
from ..randomness import kept, sources
from ..report import audits
from ..sketching.control import whole_seed
from ..system import provenance
from . import inputs
from .audit_report import AuditReport
from .binary import warn_of_real_weights
from .evaluation import device_of
from .examine import VERSION, examine
from .inputs import Data, FirstImages
from .model_digest import tensor_digest
from .store import Store, digests
from .target import AuditTarget, Budget
from .whole import Whole


def audit(
    model: nn.Module,
    data: Data,
    *,
    epsilon: float,
    claim: float | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    images: int = 100,
    steps: int = 20,
    samples: int = 10,
    restarts: int = 1,
    queries: int = 100,
    scored: int = 30,
    rounds: int = 1,
    seed: int = 0,
    batch_size: int = 100,
    surrogate: nn.Module | None = None,
    cache: str | Path | None = None,
    name: str | None = None,
) -> AuditReport:
    """Attack a model in a dozen ways, check them against each other, and say what it means.

    The model is audited as it is, on its own device, and is as before afterwards; so is the random
    state. Images beyond a batch are kept on disk. docs/audit.md has every rule.

    Args:
        model: x [B, ...] to logits [B, C], random or not.
        data: a pair of tensors (x [N, ...], y [N]), a DataLoader, any iterable of batches.
        epsilon: l-infinity size, as an amplitude (8/255).
        claim: the robust accuracy that is claimed, in (0, 1]; None: none, and nothing is called
            robust.
        bounds: the lowest and the highest value of the data.
        images: how many are audited; of a pair by a fixed permutation, else the first.
        steps, samples, restarts: of a gradient attack; samples: draws that each step averages over.
        queries: of the attacks without gradients.
        scored: fresh draws that score an image.
        rounds: audits in a row, each with the budget that an inconclusive one asked for.
        seed: of all random choices.
        batch_size: images that are attacked together.
        surrogate: a network of the same task, from which examples are transferred.
        cache: a folder that keeps what is finished; the same call goes on from there. A model that
            holds a hook or a function is not kept, with a warning.
        name: of the model, for the report.

    Raises:
        UsageError: for data, a model or settings that cannot be audited, with the remedy.
    """
    check_model(model)
    if surrogate is not None:
        check_model(surrogate, "surrogate")
    seed = whole_seed(seed)
    bounds, epsilon, claim = limits(bounds), _size(epsilon), _claim(claim)
    images, rounds = whole("images", images), whole("rounds", rounds)
    batch_size = whole("batch_size", batch_size)
    budget = Budget(
        epsilon,
        steps=whole("steps", steps),
        draws=whole("samples", samples),
        restarts=whole("restarts", restarts),
        queries=whole("queries", queries),
        scored=whole("scored", scored),
    )
    if budget.scored > 255:
        raise UsageError(f"scored must be at most 255, got {scored}")
    unit = _unit(epsilon, bounds)
    budget = replace(budget, epsilon=epsilon / unit)
    title = name or type(model).__name__
    read = FirstImages(data)
    identity = digests(cache, model, surrogate)
    with _as_before(model, surrogate):
        for left in range(rounds, 0, -1):
            of = _target(model, read, images, bounds, unit, batch_size, surrogate, epsilon)
            if left == rounds:
                warn_of_real_weights(model, of.head(2)[0])
            started = time.perf_counter()
            found = examine(of, budget, seed, claim, _store(cache, identity, of, budget, seed))
            remedy = found["verdict"]["remedy"]
            if left == 1 or not remedy:
                break
            more = {key.removeprefix("audit."): value for key, value in remedy.items()}
            images = more.pop("images", images)
            budget = replace(budget, **more)
    facts = _facts(of, found, seed, time.perf_counter() - started)
    return AuditReport({"name": title, **found, "facts": facts})


@contextmanager
def _as_before(model: nn.Module, surrogate: nn.Module | None) -> Iterator[None]:
    """After the block both are as before, and so is the random state; each is copied once."""
    models = [model]
    if surrogate is not None and surrogate is not model:
        models.append(surrogate)
    with ExitStack() as guards:
        for each in models:
            guards.enter_context(kept(sources(each)))
        for each in models:
            guards.enter_context(unchanged(each))
        yield


def _size(epsilon: Any) -> float:
    found = real(epsilon)
    if found is None or not 0 < found < math.inf:
        raise UsageError(
            f"epsilon must be a positive number, got {epsilon!r}: an amplitude, such as 8/255"
        )
    return float(found)


def _claim(claim: Any) -> float | None:
    found = None if claim is None else real(claim)
    if claim is not None and (found is None or not 0 < found <= 1):
        raise UsageError(
            f"claim must lie in (0, 1], got {claim!r}: 0.45 means 45%, without one nothing is "
            "claimed"
        )
    return found


def _target(
    model: nn.Module,
    read: FirstImages,
    images: int,
    bounds: tuple[float, float],
    unit: float,
    batch_size: int,
    surrogate: nn.Module | None,
    epsilon: float,
) -> AuditTarget:
    x, y = read.take(images)
    whole = Whole(model)
    entry = entered(whole, x.to(device_of(model, x)), y, bounds)
    with torch.no_grad():
        classes = int(entry.model(entry.x[:2]).shape[1])
    return AuditTarget(
        model=whole,
        x=entry.x.to(x.device),
        y=entry.y.to(x.device),
        bounds=bounds,
        unit=unit,
        classes=classes,
        available=max(len(x), inputs.available(read.data, len(x))),
        surrogate_model=surrogate,
        batch_size=batch_size,
        radius=epsilon,
    )


def _unit(epsilon: float, bounds: tuple[float, float]) -> float:
    """1/255 where epsilon is a number of levels of an image, else 1: how the report writes it."""
    levels = epsilon * 255
    return 1 / 255 if tuple(bounds) == (0, 1) and abs(levels - round(levels)) < 1e-6 else 1.0


def _store(
    cache: str | Path | None,
    identity: Sequence[str] | None,
    of: AuditTarget,
    budget: Budget,
    seed: int,
) -> Store:
    if cache is None or identity is None:
        return Store(None)
    data = (tensor_digest(of.x), tensor_digest(of.y), of.bounds, of.unit, of.batch_size)
    told = {k: v for k, v in vars(budget).items() if k != "scored"}
    return Store(cache, "audit", VERSION, identity, *data, told, seed)


def _facts(
    of: AuditTarget, found: dict[str, Any], seed: int, seconds: float
) -> list[tuple[str, Any]]:
    return [
        ("randomness", str(of.randomness)),
        ("images", f"{len(of.x)} of {of.available}, seed {seed}"),
        ("budget", audits.budget(found)),
        ("intervals", "95%, over images and draws; they say nothing about other trainings"),
        ("software", ", ".join(f"{k} {v}" for k, v in sorted(provenance.versions().items()))),
        ("hardware", f"{provenance.hardware(of.device)}, {seconds:.0f} s"),
    ]

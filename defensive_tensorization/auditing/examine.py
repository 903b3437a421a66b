"""An audit of one network: measurements, checks and verdict, as plain JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..attacks import Attack
from ..results.scores import Answers, interval
from . import gradients, slopes
from .comparisons import TITLES
from .judge import Measured, judge
from .measure import AuditResults, run_attacks
from .store import Store
from .target import AuditTarget, Budget

VERSION = 12  # raise it when the same settings measure or judge otherwise


def examine(
    of: AuditTarget,
    budget: Budget,
    seed: int,
    level: float | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """level: the robust accuracy that is claimed, if any; store: of what is finished already."""
    met = run_attacks(of, budget, seed, store)
    found = of.randomness
    layers = gradients.layers(of, budget, seed)
    surface, blind = gradients.profile(of, budget, seed)
    near = gradients.PLACES.index(0.25)
    rise = {name: lines[near] - lines[0] for name, lines in surface.items()}
    measured = Measured(
        answers=met.answers,
        at_epsilon=met.at_epsilon,
        moved=met.moved,
        blind=blind,
        along=rise["gradient"],
        beside=rise["random"],
        explained=slopes.explained(of, budget, seed),
        cosine=layers[0].cosine,
        images=len(of.x),
        available=of.available,
        classes=of.classes,
        shared=found.shared,
        controlled=found.controlled,
        batches=len(of.x.split(of.batch_size)),
        most_frequent=int(of.y.bincount().max()) / len(of.y),
    )
    made, said = judge(measured, budget, level)
    return {
        "version": VERSION,
        "budget": asdict(budget),
        "images": len(of.x),
        "classes": of.classes,
        "unit": of.unit,
        "random": of.random,
        "randomness": found.plain(),
        "scored": met.answers["clean"].draws,
        "level": level,
        "checks": [check.plain() for check in made],
        "attacks": _attacks(met),
        "strongest": said.strongest,
        "verdict": asdict(said),
        "layers": [asdict(layer) for layer in layers],
        "surface": {
            "places": list(gradients.PLACES),
            **{name: lines.mean(1).tolist() for name, lines in surface.items()},
        },
    }


def _attacks(met: AuditResults) -> list[dict[str, Any]]:
    return [_line(name, found, met.attacks) for name, found in met.answers.items()]


def _line(name: str, found: Answers, attacks: Mapping[str, Attack]) -> dict[str, Any]:
    attack = attacks.get(name)
    left = interval([found])
    told = dict(attack.options) if attack else {}
    return {
        "name": name,
        "title": TITLES[name],
        "attack": attack.name if attack else "",
        "epsilon": attack.epsilon if attack else None,
        "steps": attack.steps if attack else None,
        "draws": told.get("draws", 1) if attack else None,
        "restarts": told.get("restarts", 1) if attack else None,
        "knowledge": attack.knowledge if attack else "",
        **{"accuracy": left.estimate, "low": left.low, "high": left.high},
    }

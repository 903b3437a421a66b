"""An audit of one network: measurements, checks and verdict, as plain JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ..attacks import Attack
from ..results.scores import Answers, interval
from . import attack_suite, checks, gradients
from .attack_suite import WHITE, AuditResults, AuditTarget, Budget
from .comparisons import (
    AVERAGES,
    COMPARISONS,
    CONVERGED,
    ONE_DRAW,
    TITLES,
    comparisons,
    share,
    white,
)
from .verdict import verdict

VERSION = 7  # raise it when the same settings measure or judge otherwise


def examine(
    of: AuditTarget, budget: Budget, seed: int, level: float | None = None
) -> dict[str, Any]:
    """level: the robust accuracy that is claimed; None: chance."""
    chance = 1 / of.classes
    claimed = chance if level is None else level
    met = attack_suite.run_attacks(of, budget, seed)
    layers, blind = gradients.layers(of, budget, seed)
    surface = gradients.profile(of, budget, seed)
    near = gradients.PLACES.index(0.25)
    rise = {name: lines[near] - lines[0] for name, lines in surface.items()}
    masking = [*COMPARISONS, *([AVERAGES] if of.random else [])]
    error = share(masking, met.answers, others=len(checks.MEASURED))
    made = [
        checks.zero_epsilon(met.answers, met.moved),
        *comparisons(masking, met.answers, WHITE, error),
        checks.unbounded(met.answers, chance, error),
        checks.vanishing(blind, error),
        checks.direction(rise["gradient"], rise["random"]),
        *comparisons([ONE_DRAW] if of.random else [], met.answers, WHITE),
        checks.signal(layers[0].cosine, budget.draws),
        *comparisons(CONVERGED, met.answers, WHITE),
    ]
    strongest = white(met.answers, list(met.examples))
    settings = {f"audit.{name}": value for name, value in asdict(budget).items()}
    settings["audit.images"] = len(of.x)
    most = {"audit.images": of.available}
    if of.random:
        most["audit.scored"] = 255  # a row's byte
    said = verdict(made, met.answers, claimed, strongest, settings, most)
    return {
        "version": VERSION,
        "budget": asdict(budget),
        "images": len(of.x),
        "classes": of.classes,
        "unit": of.unit,
        "random": of.random,
        "scored": met.answers["clean"].draws,
        "level": claimed,
        "checks": [check.plain() for check in made],
        "attacks": _attacks(met),
        "strongest": strongest,
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

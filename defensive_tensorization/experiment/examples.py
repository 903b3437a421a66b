"""Adversarial examples to look at: a few images of the first batch, clean and attacked.

Made after the rows, from random streams of their own: no number depends on them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .. import sketching
from ..attacks import Attack
from ..data import decode
from ..report import adversarial_examples, attack_names
from ..sketching.seeded_rngs import seeded_rngs
from .classifier import Classifier
from .evaluate import attacked

if TYPE_CHECKING:
    from torch import nn

    from .plan import Plan

COUNT = 6
DEAREST = 50  # forwards and backwards of the attack that is shown


def shown(attacks: Sequence[Attack], surrogate_model: bool = False) -> Attack | None:
    """The last attack that is cheap enough, at the middle one of its epsilons.

    surrogate_model: whether there is the network that a black-box attacker needs.
    """
    able = [each for each in attacks if surrogate_model or each.knowledge != "blackbox"]
    cheap = [each for each in able if each.steps * each.draws <= DEAREST]
    mine = {each.epsilon: each for each in cheap if each.name == cheap[-1].name}
    return list(mine.values())[len(mine) // 2] if mine else None


def figure(
    p: "Plan",
    classifier: Classifier,
    attacks: Sequence[Attack],
    surrogate_model: "nn.Module | None" = None,
) -> Path | None:
    """Writes <runs>/examples/<run>.png; None where no attack or no image is to be seen."""
    attack = shown(attacks, surrogate_model is not None)
    if attack is None or p.task.kind != "images":
        return None
    seed = p.config.eval.seed
    split = p.task.test.part(p.config.eval.images, "eval.images")
    x, y = decode(split.inputs[:COUNT]), split.labels[:COUNT]
    frozen_draw_seed = sketching.stream(seed, "examples", "held")
    with seeded_rngs(classifier, seed, "examples"):
        adversarial, _ = attacked(
            classifier, attack, x, y, p.task.bounds, frozen_draw_seed, surrogate_model
        )
        with torch.no_grad():
            before, after = (
                classifier(x).argmax(1).tolist(),
                classifier(adversarial).argmax(1).tolist(),
            )
    names = p.task.classes
    found = [
        adversarial_examples.Example(
            truth=names[truth],
            predicted=names[clean],
            attacked_as=names[fooled],
            image=image.cpu().numpy(),
            attacked=other.cpu().numpy(),
        )
        for truth, clean, fooled, image, other in zip(
            y.tolist(), before, after, x, adversarial, strict=True
        )
    ]
    return adversarial_examples.example_figure(
        found,
        Path(p.config.paths.runs) / "examples" / f"{p.name}.png",
        title=f"{attack_names.shown(attack.name)} at ε = {attack.epsilon:g}",
        caption=f"{p.name}\n{p.task.title}; predictions are each of one draw, and of no row",
        radius=attack.radius,
    )

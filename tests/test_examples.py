"""Adversarial examples to look at: which attack, what is in the picture, and whose random draws."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.recorded import Recorded
from PIL import Image

from defensive_tensorization.attacks import Attack
from defensive_tensorization.experiment import components, examples
from defensive_tensorization.experiment.plan import attacks, plan
from defensive_tensorization.report.adversarial_examples import GAP, LINE, SIDE


def attack(name: str, epsilon: float, steps: int, **more: object) -> Attack:
    made = Attack(name, epsilon, 1 / 255, steps, 1 / 255, False, lambda model, x, *_: x)
    return replace(made, **more)


def test_the_last_cheap_attack_at_its_middle_epsilon() -> None:
    fgsm = [attack("fgsm", epsilon, 1) for epsilon in (2, 8, 16)]
    pgd = [attack("pgd", epsilon, steps) for epsilon, steps in ((2, 2), (8, 10), (16, 20))]
    square = [attack("square", 8, 5000)]
    averaged = [attack("eot", 8, 10, options=(("draws", 20),))]
    assert examples.shown([*fgsm, *pgd, *square, *averaged]) is pgd[1]
    assert examples.shown([*pgd, *fgsm]) is fgsm[1]
    assert examples.shown(square) is examples.shown([]) is None


def test_a_black_box_attack_needs_its_twin() -> None:
    held = attack("pgd", 8, 10, knowledge="blackbox")
    assert examples.shown([held]) is None
    assert examples.shown([held], surrogate_model=True) is held


def test_the_picture_shows_the_first_images_and_nothing_else_is_drawn(
    recorded: Recorded, tmp_path: Path
) -> None:
    p = plan(deepcopy(recorded.config))
    p.config.paths.runs = str(tmp_path)
    network = components.network(p)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    path = examples.figure(p, components.classifier(p, network), attacks(p.config))
    assert torch.equal(before, torch.random.get_rng_state())
    assert path == tmp_path / "examples" / f"{p.name}.png"
    with Image.open(path) as picture:
        assert picture.info["Title"] == "PGD at ε = 4"
        sheet = np.asarray(picture)
    first = p.task.test.head(p.config.eval.images).inputs[0].permute(1, 2, 0).numpy()
    top = GAP + 3 * LINE
    shown = sheet[top : top + SIDE, GAP : GAP + SIDE]
    scale = SIDE // first.shape[0]
    assert (shown[scale // 2 :: scale, scale // 2 :: scale] == first).all()
    again = examples.figure(p, components.classifier(p, network), attacks(p.config))
    with Image.open(again) as picture:
        assert (np.asarray(picture) == sheet).all()


@pytest.mark.parametrize("kind", ["no attack", "clips"])
def test_there_is_nothing_to_see_without_images_or_attacks(kind: str, recorded: Recorded) -> None:
    p = plan(recorded.config)
    if kind == "clips":
        task = replace(p.task, train=replace(p.task.train, inputs=p.task.train.inputs[:, 0]))
        p = replace(p, task=task)
    aimed = [] if kind == "no attack" else attacks(p.config)
    assert examples.figure(p, components.classifier(p, components.network(p)), aimed) is None

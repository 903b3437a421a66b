"""Native steps and training's attacks: against Foolbox, by hand, and in the draws they meet."""

from typing import Any

import numpy as np
import pytest
import torch
from foolbox import PyTorchModel
from foolbox.attacks import LinfProjectedGradientDescentAttack
from foolbox.criteria import Misclassification
from scipy.stats import kstest, truncnorm
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.attacks.in_units import fgsm
from defensive_tensorization.attacks.native import ascend
from defensive_tensorization.attacks.training import (
    AdversarialTraining,
    pgd_training,
    r_fgsm_training,
    truncated_normal,
)
from defensive_tensorization.models.batchnorm import DrawBatchNorm2d, Recalibrated
from defensive_tensorization.tucker import TuckerConv2d

UNIT = 1 / 255
IMAGES, AUDIO = (0.0, 1.0), (-1.0, 1.0)
N, CLASSES = 6, 5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(bounds: tuple[float, float] = IMAGES) -> tuple[Tensor, Tensor]:
    x = torch.rand(N, 2, 4, 4, generator=generator())
    x.view(-1)[::7], x.view(-1)[::5] = 0.0, 1.0  # so that clipping has work to do at both ends
    low, high = bounds
    return low + (high - low) * x, torch.randint(CLASSES, (N,), generator=generator())


def curved() -> nn.Module:
    torch.manual_seed(1)
    conv = nn.Conv2d(2, 6, 3, padding=1)
    with torch.no_grad():
        conv.weight *= 20  # gradients change sign along the way
    return nn.Sequential(conv, nn.BatchNorm2d(6), nn.Tanh(), nn.Flatten(), nn.Linear(96, CLASSES))


def randomized() -> nn.Module:
    torch.manual_seed(1)
    conv = TuckerConv2d.from_conv(nn.Conv2d(2, 8, 3), 0.5, init="random")
    norm = DrawBatchNorm2d(8, "recalibrated")
    return nn.Sequential(conv, norm, nn.Tanh(), nn.Flatten(), nn.Linear(32, CLASSES))


# --- steps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [IMAGES, AUDIO])
@pytest.mark.parametrize(("epsilon", "steps"), [(2, 2), (8, 10), (16, 20)])
def test_equals_foolbox(epsilon: float, steps: int, bounds: tuple[float, float]) -> None:
    model, (x, y) = curved().eval().requires_grad_(False), batch(bounds)
    library = LinfProjectedGradientDescentAttack(abs_stepsize=UNIT, steps=steps, random_start=False)
    target = PyTorchModel(model, bounds=bounds, device=x.device)
    theirs = library.run(target, x, Misclassification(y), epsilon=epsilon * UNIT)
    options: dict[str, Any] = {"radius": epsilon * UNIT, "step_size": UNIT}
    ours = ascend(model, x, x, y, bounds, **options, steps=steps)
    assert float((ours - theirs).abs().max()) <= 1e-6
    shorter = ascend(model, x, x, y, bounds, **options, steps=steps - 1)
    assert not torch.allclose(shorter, ours, atol=1e-6)


def test_one_step_of_epsilon_is_fgsm() -> None:
    model, (x, y) = curved().eval().requires_grad_(False), batch()
    ours = ascend(model, x, x, y, IMAGES, radius=8 * UNIT, step_size=8 * UNIT, steps=1)
    assert float((ours - fgsm(epsilon=8, unit=UNIT)(model, x, y, IMAGES)).abs().max()) <= 1e-6


# --- the random size --------------------------------------------------------------------------


def test_epsilon_is_a_truncated_normal() -> None:
    made = generator()
    found = np.array([truncated_normal(8, 16, made) for _ in range(3000)])
    assert kstest(found, truncnorm(0, 2, scale=8).cdf).pvalue > 1e-6
    assert found.min() >= 0 and found.max() <= 16


class Seen:
    """Notes what an attack of training does to a network that has no gradient."""

    def __init__(self, training: AdversarialTraining, batches: int, shape: int = 8) -> None:
        steps: list[int] = []

        class Flat(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                steps[-1] += 1
                return 0 * x.flatten(1)[:, :2]

        made, net = generator(), Flat()
        x, y = torch.full((4, 3, shape, shape), 0.5), torch.zeros(4, dtype=torch.long)
        self.offsets = []
        for _ in range(batches):
            steps.append(0)
            adversarial, _ = training.batch(net, net, IMAGES, x, y, made)
            self.offsets.append((adversarial - x) * 255)
        self.steps = steps


def test_pgd_draws_size_and_steps_for_each_batch() -> None:
    seen = Seen(pgd_training(unit=UNIT), 400)
    sizes = np.array([float(o.abs().max()) for o in seen.offsets])  # of a uniform start: epsilon
    assert kstest(sizes, truncnorm(0, 2, scale=8).cdf).pvalue > 1e-6
    most = np.maximum(1, np.floor(1.25 * sizes * 1.02))  # 192 x 3 uniforms come this near
    assert (np.array(seen.steps) <= most).all()
    large = np.array(seen.steps)[sizes > 14]
    assert large.min() < 6 and large.max() > 12


def test_levels_and_unit_make_the_amplitude() -> None:
    offsets = torch.cat(Seen(pgd_training(unit=1.0, level=UNIT, largest=4), 20).offsets)
    assert 2 < float(offsets.abs().max()) <= 4 + 1e-3


def test_r_fgsm_takes_a_random_sign_step_first() -> None:
    offsets = torch.cat(Seen(r_fgsm_training(unit=UNIT), 3).offsets)
    assert set(offsets.round(decimals=3).unique().tolist()) == {-4.0, 4.0}
    assert abs(float(offsets.mean())) < 0.5


def test_r_fgsm_by_hand() -> None:
    model, (x, y) = curved().eval().requires_grad_(False), batch()
    made = generator()
    torch.randint(2**62, (), generator=made)  # the batch's own seed
    signs = torch.randn(x.shape, generator=made).sign()
    start = (x + 4 / 255 * signs).clamp(0, 1).requires_grad_()
    loss = nn.functional.cross_entropy(model(start), y)
    (gradient,) = torch.autograd.grad(loss, start)
    expected = (start.detach() + 4 / 255 * gradient.sign()).clamp(0, 1)
    training = r_fgsm_training(unit=UNIT)
    adversarial, _ = training.batch(model, model, IMAGES, x, y, generator())
    torch.testing.assert_close(adversarial, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("training", [pgd_training(unit=UNIT), r_fgsm_training(unit=UNIT)])
@pytest.mark.parametrize("bounds", [IMAGES, AUDIO])
def test_within_the_largest_ball_and_the_bounds(
    training: AdversarialTraining, bounds: tuple[float, float]
) -> None:
    model, (x, y) = curved(), batch(bounds)
    kept = x.clone()
    for seed in range(5):
        made, _ = training.batch(model, model, bounds, x, y, generator(seed))
        assert float((made - x).abs().max()) <= 16 / 255 + 1e-6
        assert bounds[0] <= float(made.min()) and float(made.max()) <= bounds[1]
        assert not made.requires_grad
    assert torch.equal(x, kept)


def test_choices_come_from_the_generator_alone() -> None:
    model, (x, y) = curved(), batch()
    found = []
    for seed, noise in ((0, 0), (0, 1), (1, 0)):
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        made = pgd_training(unit=UNIT).batch(model, model, IMAGES, x, y, generator(seed))
        found.append(made[0])
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


# --- the network under attack -----------------------------------------------------------------


def test_the_attack_meets_evaluation_mode_and_leaves_everything_as_it_was() -> None:
    model, (x, y) = curved().train(), batch()
    model[2].eval()
    modes: list[list[bool]] = []
    model[0].register_forward_hook(lambda *_: modes.append([m.training for m in model]))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pgd_training(unit=UNIT).batch(model, model, IMAGES, x, y, generator())
    assert modes and not any(each for mode in modes for each in mode)
    assert [m.training for m in model] == [True, True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_recalibrated_batchnorm_is_what_the_attack_meets() -> None:
    network, (x, y) = randomized().train(), batch()
    network[0].weight.sketch.theta = 1.0  # one kernel, so that the two can be compared
    reference = torch.rand(16, 2, 4, 4, generator=generator(3))
    deployed = Recalibrated(network, reference)
    training = r_fgsm_training(unit=UNIT, alpha=0)
    made, _ = training.batch(network, deployed, IMAGES, x, y, generator())
    deployed.eval()
    expected = fgsm(epsilon=8, unit=UNIT)(deployed, x, y, IMAGES)
    torch.testing.assert_close(made, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("draws", "update", "different"),
    [("fresh", "fresh", 4), ("frozen", "fresh", 2), ("frozen", "attack", 1)],
)
def test_which_draws_the_attack_and_the_update_meet(
    draws: Any, update: Any, different: int
) -> None:
    network, (x, y) = randomized().train(), batch()

    def three(model: nn.Module, x: Tensor, y: Tensor, bounds: Any, noise: Any) -> Tensor:
        return ascend(model, x, x, y, bounds, radius=UNIT, step_size=UNIT, steps=3)

    training = AdversarialTraining(three, draws, update)
    with sketching.record(network) as ledger:
        made, held = training.batch(network, network, IMAGES, x, y, generator())
        with held:
            network(made)
        network(made)
    (met,) = ledger.to_dict().values()
    assert len(met) == 5
    assert len({str(draw) for draw in met[:4]}) == different
    assert str(met[4]) not in {str(draw) for draw in met[:4]}


def test_a_frozen_draw_is_another_for_each_batch() -> None:
    network, (x, y) = randomized().train(), batch()
    training, made = r_fgsm_training(unit=UNIT, draws="frozen"), generator()
    with sketching.record(network) as ledger:
        for _ in range(3):
            training.batch(network, network, IMAGES, x, y, made)
    (met,) = ledger.to_dict().values()
    assert len({str(draw) for draw in met}) == 3

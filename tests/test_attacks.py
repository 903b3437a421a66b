"""FGSM, BIM and PGD against closed forms and plain loops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from helpers.toy_images import AUDIO, CLASSES, IMAGES, UNIT, batch, curved
from scipy.stats import kstest
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.attacks import Attack, step_count
from defensive_tensorization.attacks.in_units import bim, fgsm, pgd
from defensive_tensorization.errors import UsageError
from defensive_tensorization.tucker import TuckerConv2d


class Constant(nn.Module):
    """No gradient anywhere: an iterated attack stays where it starts."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = 0 * x.flatten(1)[:, :CLASSES]
        return logits


def loop(
    model: nn.Module,
    start: Tensor,
    x: Tensor,
    y: Tensor,
    bounds: tuple[float, float],
    radius: float,
    step: float,
    steps: int,
) -> Tensor:
    """Eq. 2, written down plainly."""
    now = start
    for _ in range(steps):
        now = now.detach().requires_grad_()
        loss = nn.functional.cross_entropy(model(now), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, now)
        now = now.detach() + step * gradient.sign()
        now = x + (now - x).clamp(-radius, radius)
        now = now.clamp(*bounds)
    return now


@pytest.mark.parametrize("bounds", [IMAGES, AUDIO])
@pytest.mark.parametrize("epsilon", [2, 8, 64])
def test_fgsm_in_closed_form(epsilon: float, bounds: tuple[float, float]) -> None:
    """Softmax regression: the gradient of the cross-entropy is W^T (p - onehot)."""
    x, y = batch(bounds)
    random = np.random.default_rng(0)
    w, b = random.normal(size=(CLASSES, 32)), random.normal(size=CLASSES)
    model = nn.Sequential(nn.Flatten(), nn.Linear(32, CLASSES))
    model[1].load_state_dict({"weight": torch.tensor(w), "bias": torch.tensor(b)})
    z = x.flatten(1).double().numpy() @ w.T + b
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    gradient = (p - np.eye(CLASSES)[y.numpy()]) @ w
    expected = x.flatten(1).numpy() + epsilon / 255 * np.sign(gradient)
    attacked = fgsm(epsilon=epsilon, unit=UNIT)(model.eval(), x, y, bounds)
    assert attacked.shape == x.shape
    np.testing.assert_allclose(
        attacked.flatten(1), expected.clip(*bounds).astype(np.float32), atol=1e-6
    )


@pytest.mark.parametrize("bounds", [IMAGES, AUDIO])
@pytest.mark.parametrize("epsilon", [2, 8, 16])
def test_bim_is_the_plain_loop(epsilon: float, bounds: tuple[float, float]) -> None:
    model, (x, y) = curved(), batch(bounds)
    attack = bim(epsilon=epsilon, unit=UNIT)
    steps = {2: 2, 8: 10, 16: 20}[int(epsilon)]
    expected = loop(model, x, x, y, bounds, epsilon / 255, 1 / 255, steps)
    assert torch.equal(attack(model, x, y, bounds), expected)
    one_less = loop(model, x, x, y, bounds, epsilon / 255, 1 / 255, steps - 1)
    assert not torch.equal(one_less, expected)


def test_step_size_and_steps_are_used() -> None:
    model, (x, y) = curved(), batch()
    attack = bim(epsilon=8, unit=UNIT, step_size=2.5, steps=3)
    expected = loop(model, x, x, y, IMAGES, 8 / 255, 2.5 / 255, 3)
    torch.testing.assert_close(attack(model, x, y, IMAGES), expected, atol=1e-7, rtol=0)


@pytest.mark.parametrize("bounds", [IMAGES, AUDIO])
def test_pgd_is_the_loop_from_its_random_start(bounds: tuple[float, float]) -> None:
    model, (x, y) = curved(), batch(bounds)
    attack = pgd(epsilon=8, unit=UNIT)
    torch.manual_seed(4)
    start = attack(Constant().eval(), x, y, bounds)
    torch.manual_seed(4)
    attacked = attack(model, x, y, bounds)
    assert torch.equal(attacked, loop(model, start, x, y, bounds, 8 / 255, 1 / 255, 10))
    assert not torch.equal(attacked, bim(epsilon=8, unit=UNIT)(model, x, y, bounds))


def test_pgd_starts_uniformly_in_the_ball() -> None:
    x, y = torch.full((50, 2, 6, 6), 0.5), torch.zeros(50, dtype=torch.long)
    start = pgd(epsilon=8, unit=UNIT)(Constant().eval(), x, y, IMAGES)
    offsets = ((start - x) * 255).flatten().numpy()
    assert kstest(offsets, "uniform", args=(-8, 16)).pvalue > 1e-6
    assert torch.equal(bim(epsilon=8, unit=UNIT)(Constant().eval(), x, y, IMAGES), x)


@pytest.mark.parametrize("make", [fgsm, bim, pgd])
@pytest.mark.parametrize("bounds", [IMAGES, AUDIO])
@pytest.mark.parametrize("epsilon", [2, 16, 128])
def test_stays_in_the_ball_and_the_bounds(
    make: Callable[..., Attack], bounds: tuple[float, float], epsilon: float
) -> None:
    model, (x, y) = curved(), batch(bounds)
    kept = x.clone()
    attacked = make(epsilon=epsilon, unit=UNIT)(model, x, y, bounds)
    assert torch.equal(x, kept), "the clean batch was written to"
    assert float((attacked - x).abs().max()) <= epsilon / 255 + 1e-6
    assert float(attacked.min()) >= bounds[0] and float(attacked.max()) <= bounds[1]
    assert not attacked.requires_grad
    loss = nn.functional.cross_entropy
    assert loss(model(attacked), y) > loss(model(x), y)


def test_seeds_of_pgd() -> None:
    model, (x, y) = curved(), batch()
    attack = pgd(epsilon=8, unit=UNIT)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(attack(model, x, y, IMAGES))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("make", [fgsm, bim, pgd])
def test_epsilon_0_gives_the_input_back(make: Callable[..., Attack]) -> None:
    x, y = batch()
    assert torch.equal(make(epsilon=0, unit=UNIT)(curved(), x, y, IMAGES), x)


@pytest.mark.parametrize("make, steps", [(fgsm, 1), (bim, 10), (pgd, 10)])
def test_every_step_meets_a_fresh_draw(make: Callable[..., Attack], steps: int) -> None:
    conv = TuckerConv2d.from_conv(nn.Conv2d(2, 8, 3), 0.5)
    model = nn.Sequential(conv, nn.Flatten(), nn.Linear(32, CLASSES)).eval()
    x, y = batch()
    with sketching.record(model) as ledger:
        make(epsilon=8, unit=UNIT)(model, x, y, IMAGES)
    (draws,) = ledger.to_dict().values()
    assert len(draws) == steps
    assert len({str(draw) for draw in draws}) == steps


@pytest.mark.parametrize(
    "epsilon, rounding, steps",
    [
        (0, "floor", 1),
        (0.5, "floor", 1),
        (1, "floor", 1),
        (2, "floor", 2),
        (4, "floor", 5),
        (8, "floor", 10),
        (16, "floor", 20),
        (32, "floor", 36),
        (64, "floor", 68),
        (128, "floor", 132),
        (2, "ceil", 3),
        (8, "ceil", 10),
        (1, "nearest", 1),
        (3, "nearest", 4),
        (5, "nearest", 6),
    ],
)
def test_steps_are_the_paper_s_rule_rounded(epsilon: float, rounding: str, steps: int) -> None:
    assert step_count(epsilon, steps_round=rounding) == steps
    assert bim(epsilon=epsilon, unit=UNIT, steps_round=rounding).steps == steps


@pytest.mark.parametrize(("amplitude", "on_images"), [(0.008, 2), (0.032, 8), (0.063, 16)])
def test_levels_give_audio_the_steps_of_images(amplitude: float, on_images: float) -> None:
    assert step_count(amplitude, level=UNIT) == step_count(on_images)
    for make in (bim, pgd):
        made = make(epsilon=amplitude, unit=1, step_size=UNIT, level=UNIT)
        assert made.steps == step_count(on_images) and made.step_size == UNIT
        assert made.radius == amplitude


def test_given_steps_win() -> None:
    assert step_count(8, 3) == step_count(8, 3, "ceil") == 3
    assert fgsm(epsilon=16, unit=UNIT).steps == 1


def test_an_attack_says_what_it_is() -> None:
    attack = pgd(epsilon=8, unit=UNIT)
    said = (attack.name, attack.epsilon, attack.steps, attack.random_start)
    assert said == ("pgd", 8, 10, True)
    assert (attack.radius, attack.step_size) == pytest.approx((8 / 255, 1 / 255))
    assert not bim(epsilon=8, unit=UNIT).random_start
    assert fgsm(epsilon=0.032, unit=1).radius == 0.032


@pytest.mark.parametrize("make", [bim, pgd])
@pytest.mark.parametrize(
    "options, message",
    [
        ({"steps": 0}, "attack steps must be a whole number, at least 1, got 0"),
        ({"steps_round": "up"}, "steps_round must be one of floor, ceil, nearest, got 'up'"),
        ({"step_size": 0}, "step_size must be a positive number in the data's unit, got 0"),
        ({"step_size": "1/255"}, "must be a positive number in the data's unit, got '1/255'"),
        ({"step_size": float("nan")}, "must be a positive number in the data's unit, got nan"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    make: Callable[..., Attack], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        make(epsilon=8, unit=UNIT, **options)
    assert message in str(error.value)

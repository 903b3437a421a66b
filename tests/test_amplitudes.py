"""The public attacks: amplitudes in, the same points as Foolbox and as the configurations' own."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import defensive_tensorization as dt
from defensive_tensorization.attacks import Attack, in_units
from defensive_tensorization.attacks.expectation import answers_vary
from defensive_tensorization.config.build import named
from defensive_tensorization.errors import UsageError
from defensive_tensorization.randomness import varies

CLASSES = 4
SIZE = 16 / 255
QUICK: dict[str, Attack] = {
    "fgsm": dt.attacks.fgsm(epsilon=SIZE),
    "bim": dt.attacks.bim(epsilon=SIZE, steps=3),
    "pgd": dt.attacks.pgd(epsilon=SIZE, steps=3),
    "eot_pgd": dt.attacks.eot_pgd(epsilon=SIZE, steps=3, samples=2),
    "apgd": dt.attacks.apgd(epsilon=SIZE, steps=3, samples=2),
    "square": dt.attacks.square(epsilon=SIZE, queries=3, samples=2),
}


def curved() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(54, CLASSES)
    ).eval()  # fmt: skip


class Shaken(nn.Module):
    """A stranger's defence, out of torch's global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.network = curved()

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.network(x + 0.1 * torch.randn_like(x))
        return made


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(0)
    x = torch.rand(count, 3, 5, 5, generator=made)
    return x, torch.randint(CLASSES, (count,), generator=made)


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("model", [curved, Shaken], ids=["smooth", "shaken"])
def test_an_example_is_in_the_ball_and_in_the_default_bounds(name: str, model: Any) -> None:
    x, y = batch()
    made = QUICK[name](model().eval(), x, y)
    assert made.shape == x.shape and not torch.equal(made, x)
    assert float((made - x).abs().max()) <= SIZE + 1e-6
    assert float(made.min()) >= 0 and float(made.max()) <= 1


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd"])
def test_points_are_foolbox_s(name: str) -> None:
    foolbox = pytest.importorskip("foolbox")
    x, y = batch()
    model = curved()
    kinds = {
        "fgsm": foolbox.attacks.LinfFastGradientAttack(random_start=False),
        "bim": foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=0.01, steps=5),
        "pgd": foolbox.attacks.LinfProjectedGradientDescentAttack(abs_stepsize=0.01, steps=5),
    }
    mine = {
        "fgsm": dt.attacks.fgsm(epsilon=SIZE),
        "bim": dt.attacks.bim(epsilon=SIZE, steps=5, step_size=0.01),
        "pgd": dt.attacks.pgd(epsilon=SIZE, steps=5, step_size=0.01),
    }
    torch.manual_seed(3)
    found = mine[name](model, x, y)
    torch.manual_seed(3)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.Misclassification(y)
    theirs = kinds[name].run(wrapped, x, criterion, epsilon=SIZE)
    if name == "pgd":  # Foolbox starts from another of torch's functions
        assert float((found - x).abs().max()) == pytest.approx(SIZE, abs=1e-6)
        assert float((theirs - x).abs().max()) == pytest.approx(SIZE, abs=1e-6)
    else:
        torch.testing.assert_close(found, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (
            dt.attacks.eot_pgd(epsilon=8 / 255, steps=3, samples=2, step_size=2 / 255),
            in_units.eot_pgd(epsilon=8, unit=1 / 255, steps=3, draws=2, step_size=2),
        ),
        (
            dt.attacks.apgd(epsilon=8 / 255, steps=3, samples=2, loss="dlr"),
            in_units.apgd(epsilon=8, unit=1 / 255, steps=3, draws=2, loss="dlr"),
        ),
        (
            dt.attacks.square(epsilon=8 / 255, queries=3, samples=2),
            in_units.square(epsilon=8, unit=1 / 255, steps=3, draws=2),
        ),
    ],
    ids=["eot_pgd", "apgd", "square"],
)
def test_an_amplitude_is_the_configurations_epsilon_times_its_unit(
    mine: Attack, theirs: Attack
) -> None:
    x, y = batch()
    found = []
    for attack in (mine, theirs):
        torch.manual_seed(0)
        found.append(attack(curved(), x, y))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(size=st.floats(0, 1), steps=st.integers(1, 4))
def test_any_size_and_step_count_stays_in_the_ball(size: float, steps: int) -> None:
    x, y = batch(2)
    for make in (dt.attacks.bim, dt.attacks.pgd, dt.attacks.eot_pgd):
        made = make(epsilon=size, steps=steps)(curved(), x, y)
        assert float((made - x).abs().max()) <= size + 1e-6


def test_all_steps_together_reach_any_corner() -> None:
    assert dt.attacks.eot_pgd(epsilon=0.1, steps=50).step_size == pytest.approx(0.1 * 2.5 / 50)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: dt.attacks.eot_pgd(epsilon=0.1, samples=0), "samples must be a whole number"),
        (lambda: dt.attacks.pgd(epsilon=0.1, steps=1.5), "steps must be a whole number"),
        (lambda: dt.attacks.square(epsilon=0.1, queries=True), "queries must be a whole number"),
        (lambda: dt.attacks.bim(epsilon=0.1, step_size=-1), "step_size must be a positive"),
        (lambda: dt.attacks.fgsm(epsilon=-1.0)(curved(), *batch()), "a number >= 0, got -1.0"),
        (lambda: dt.attacks.eot_pgd(epsilon=-1.0)(curved(), *batch()), "a number >= 0"),
        (lambda: dt.attacks.eot_pgd(epsilon=float("nan")), "a number >= 0, got nan"),
        (lambda: dt.attacks.pgd(epsilon="8/255"), "epsilon must be a number, got '8/255'"),
        (lambda: dt.attacks.fgsm(epsilon=None), "epsilon must be a number, got None"),
        (lambda: dt.attacks.pgd(epsilon=torch.ones(3)), "epsilon must be a number"),
    ],
)
def test_bad_settings_are_one_line(make: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_numbers_of_any_type_make_the_same_attack() -> None:
    kinds: list[Any] = [np.float32, np.float64, torch.tensor]
    for kind in kinds:
        attack = dt.attacks.eot_pgd(
            epsilon=kind(0.25), steps=np.int64(2), samples=np.int32(3), step_size=kind(0.5)
        )
        assert attack == dt.attacks.eot_pgd(epsilon=0.25, steps=2, samples=3, step_size=0.5)
    assert dt.attacks.apgd(epsilon=0.25, steps=np.int64(2)).steps == 2
    assert dt.attacks.pgd(epsilon=8, unit=1 / 255, steps=np.int64(2)).steps == 2


def test_an_epsilon_in_levels_is_told() -> None:
    with pytest.warns(UserWarning, match="8/255 is epsilon=8/255"):
        dt.attacks.fgsm(epsilon=8)(curved(), *batch())


@pytest.mark.parametrize("name", ["eot_pgd", "autoattack.autoattack", "foolbox1_pgd"])
def test_old_targets_name_the_attacks_in_units(name: str) -> None:
    """Checkpoints hold the configuration that made them."""
    kept = named(f"defensive_tensorization.attacks.{name}")
    assert kept is getattr(in_units, name.rpartition(".")[2])


def test_a_member_at_random_is_seen_to_be_random() -> None:
    """Of two, whose coin two forwards see in every second batch alone."""

    class Either(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = curved()

        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = self.network(x) * random.choice([1, 2])
            return made

    random.seed(0)
    x, _ = batch()
    assert all(answers_vary(Either().eval(), x) for _ in range(100))
    assert not answers_vary(curved(), x)


def test_small_draws_of_few_bits_are_draws_for_an_attack() -> None:
    """In bfloat16 they are no larger than rounding is taken to be elsewhere."""

    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits = x.flatten(1)[:, :3].to(torch.bfloat16)
            return logits * (1 + 0.02 * random.choice([-1, 1]))

    random.seed(0)
    x, _ = batch()
    assert answers_vary(Noisy(), x) and not varies(Noisy(), x)


@pytest.mark.parametrize(
    ("name", "counted", "settings"),
    [
        ("fgsm", {}, {}),
        ("bim", {"steps": 3}, {"steps": 3, "step_size": 1 / 255}),
        ("pgd", {"steps": 3}, {"steps": 3, "step_size": 1 / 255}),
        ("eot_pgd", {"steps": 3, "draws": 2}, {"steps": 3, "samples": 2, "step_size": 1 / 255}),
        ("apgd", {"steps": 3, "draws": 2}, {"steps": 3, "samples": 2}),
        ("square", {"steps": 3, "draws": 2}, {"queries": 3, "samples": 2}),
    ],
)
def test_a_unit_is_what_an_epsilon_of_one_means(
    name: str, counted: dict[str, int], settings: dict[str, float]
) -> None:
    """epsilon=8, unit=1/255 is 8/255: the same points, in float32."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).eval()
    x, y = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
    points = []
    for how in ({"epsilon": 8, "unit": 1 / 255, **counted}, {"epsilon": 8 / 255, **settings}):
        torch.manual_seed(1)
        points.append(getattr(dt.attacks, name)(**how)(model, x, y, (0.0, 1.0)))
    torch.testing.assert_close(*points)
    assert not torch.equal(points[0], x)


def test_an_unknown_setting_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        dt.attacks.pgd(epsilon=8 / 255, size=3)  # type: ignore[call-arg]

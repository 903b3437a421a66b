"""How far draws' gradients agree, against every pair written out in numpy."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from defensive_tensorization.attacks.agreement import GradientSums, cosine_between_draws


def by_pairs(gradients: np.ndarray) -> float:
    """Of gradients [draws, images, values]: mean over pairs, median over images with any."""
    length = np.linalg.norm(gradients, axis=2, keepdims=True)
    unit = np.divide(gradients, length, out=np.zeros_like(gradients), where=length > 0)
    pairs = [(unit[a] * unit[b]).sum(1) for a, b in combinations(range(len(unit)), 2)]
    return float(np.median(np.mean(pairs, axis=0)[(length[..., 0] > 0).any(0)]))


@given(st.integers(2, 6), st.sampled_from([1, 3, 5]), st.integers(1, 8), st.integers(0, 2**31))
def test_cosine_is_the_mean_over_all_pairs_of_draws(k: int, images: int, n: int, seed: int) -> None:
    made = np.random.default_rng(seed)
    gradients = made.normal(size=(k, images, n)) * 10.0 ** made.integers(-9, 9, (k, images, 1))
    gradients[0, 0] = 0  # a blind draw
    sums = GradientSums()
    for each in gradients:
        sums.add(torch.from_numpy(each))
    assert sums.cosine() == pytest.approx(by_pairs(gradients), abs=1e-9)


def test_energy_of_the_mean_over_that_of_the_scatter_by_hand() -> None:
    """Gradients 3 and 1 of one image: pairs 3, second moment 5, scatter 2."""
    sums = GradientSums()
    sums.add(torch.tensor([[3.0]]))
    sums.add(torch.tensor([[1.0]]))
    assert sums.snr() == pytest.approx(3 / 2)


def test_one_draw_and_no_gradient_say_nothing() -> None:
    one = GradientSums()
    one.add(torch.ones(2, 3))
    assert (one.cosine(), one.snr(), one.zero) == (None, None, 0.0)
    blind = GradientSums()
    for _ in range(2):
        blind.add(torch.tensor([[0.0, float("nan")]]))
    assert (blind.cosine(), blind.snr(), blind.zero) == (None, None, 1.0)


class Turning(nn.Module):
    """Two classes, whose logits' difference is 2 w_k . x: w_k turns by `angle` at each draw."""

    def __init__(self, angle: float) -> None:
        super().__init__()
        self.angle, self.draw = angle, 0

    def forward(self, x: Tensor) -> Tensor:
        turn = torch.tensor(self.angle * self.draw, dtype=torch.float32)
        self.draw += 1
        z = x @ torch.stack([turn.cos(), turn.sin()])
        return torch.stack([z, -z], 1)


@pytest.mark.parametrize("degrees", [0, 30, 90])
def test_the_cosine_is_of_the_loss_by_the_input(degrees: int) -> None:
    x, y = torch.tensor([[0.2, 0.1], [-0.3, 0.5], [0.0, 0.4]]), torch.tensor([0, 1, 0])
    found = cosine_between_draws(Turning(np.radians(degrees)), x, y, 2)
    assert found == pytest.approx(np.cos(np.radians(degrees)), abs=1e-6)

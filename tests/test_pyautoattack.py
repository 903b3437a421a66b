"""APGD and Square beside AutoAttack's own, on a deterministic network and at the same budget.

Both draw their own starts and windows, so accuracies are compared, not examples: paired by image,
over several seeds. An image's difference is the mean over seeds; images are independent, so its
standard error gives the interval (a t interval, 99%). It must hold zero and be narrow.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from golden import networks
from scipy.stats import t
from torch import Tensor, nn

from defensive_tensorization.attacks.in_units import apgd, square
from defensive_tensorization.data import decode

SEEDS = {"ce": 2, "dlr": 2, "square": 5}  # of whose attacks luck decides most
BOUNDS = (0.0, 1.0)
WIDEST = 0.05  # half the interval: what a weaker attack must not hide in
Attack = Callable[[int, float], Tensor]
"""(seed, epsilon as an amplitude) to adversarial examples."""


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Tensor, Tensor]:
    """The committed small dense network, 100 test images that it gets right, their labels."""
    p = networks.plan_of(
        tmp_path_factory.mktemp("peers"), *networks.FIXED, "defence=none", "theta=1"
    )
    network = networks.fixed(p, "dense").eval().requires_grad_(False)
    x, y = decode(p.task.test.inputs[:120]), p.task.test.labels[:120]
    right = network(x).argmax(1) == y
    assert int(right.sum()) >= 100
    return network, x[right][:100], y[right][:100]


def ours(setting: tuple[nn.Module, Tensor, Tensor], kind: str, steps: int) -> Attack:
    network, x, y = setting

    def attack(seed: int, epsilon: float) -> Tensor:
        torch.manual_seed(seed)
        size = {"epsilon": epsilon, "unit": 1.0, "steps": steps}
        made = square(**size) if kind == "square" else apgd(**size, loss=kind)  # type: ignore[arg-type]
        return made(network, x, y, BOUNDS)

    return attack


def theirs(setting: tuple[nn.Module, Tensor, Tensor], kind: str, steps: int) -> Attack:
    from pyautoattack.autopgd_base import APGDAttack
    from pyautoattack.square import SquareAttack

    network, x, y = setting

    def attack(seed: int, epsilon: float) -> Tensor:
        made: Tensor
        with torch.random.fork_rng():
            if kind == "square":
                made = SquareAttack(
                    network, n_queries=steps, eps=epsilon, seed=seed, device="cpu"
                ).perturb(x, y)
            else:
                made = APGDAttack(
                    network, n_iter=steps, eps=epsilon, seed=seed, loss=kind, device="cpu"
                ).perturb(x, y)
        return made

    return attack


def kept(
    setting: tuple[nn.Module, Tensor, Tensor], attack: Attack, epsilon: float, seeds: int
) -> np.ndarray:
    """[100]: how often, over the seeds, each image stays right."""
    network, x, y = setting
    found = []
    for seed in range(seeds):
        z = attack(seed, epsilon)
        assert float((z - x).abs().max().detach()) <= epsilon + 1e-6
        found.append((network(z).argmax(1) == y).double().numpy())
    return np.mean(found, axis=0)


def interval(difference: np.ndarray) -> tuple[float, float]:
    """The mean of the images' differences and half its 99% interval."""
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    return float(difference.mean()), float(t.ppf(0.995, len(difference) - 1) * error)


CASES = [("ce", 20, 4 / 255), ("dlr", 20, 4 / 255), ("square", 60, 16 / 255)]


@pytest.mark.parametrize(("kind", "steps", "epsilon"), CASES)
def test_as_strong_as_autoattack_s_own(
    setting: tuple[nn.Module, Tensor, Tensor], kind: str, steps: int, epsilon: float
) -> None:
    seeds = SEEDS[kind]
    peer = kept(setting, theirs(setting, kind, steps), epsilon, seeds)
    assert 0.1 < peer.mean() < 0.9, "an attack that breaks all or nothing compares nothing"
    mean, half = interval(kept(setting, ours(setting, kind, steps), epsilon, seeds) - peer)
    assert abs(mean) <= half <= WIDEST, (mean, half)
    mean, half = interval(kept(setting, ours(setting, kind, steps // 10), epsilon, seeds) - peer)
    assert mean > half, "a tenth of the steps would pass as well"

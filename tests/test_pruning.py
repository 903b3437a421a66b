"""Stochastic activation pruning: what a draw keeps, what becomes of it, who controls it."""

import numpy as np
import pytest
import torch
from helpers.fake_task import split, task
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.attacks.in_units import eot_pgd
from defensive_tensorization.config import composed, run_id, surrogate_config, train_config_hash
from defensive_tensorization.defences.pruning import StochasticPruning, factors, pruned
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.classifier import Classifier
from defensive_tensorization.experiment.evaluation_config import eval_config_hash
from defensive_tensorization.experiment.plan import Plan

UNLIKELY = 1e-6  # seeds are fixed: a test that passes once passes always
H = torch.tensor([3.0, -1.0, 0.0, 0.5, 2.0, 0.25])
N = 20_000


def many(fraction: float, n: int = N) -> Tensor:
    """n independent prunings of H, [n, 6]."""
    layer = StochasticPruning(fraction=fraction)
    sketching.seed(layer, 0)
    with sketching.per_sample(layer):
        made: Tensor = layer(H.expand(n, -1))
    return made


@pytest.mark.parametrize("fraction", [0.5, 1.0, 2.0])
def test_each_activation_is_kept_as_often_as_the_formula_says(fraction: float) -> None:
    made, r = many(fraction), round(6 * fraction)
    p = H.abs().numpy() / H.abs().numpy().sum()
    keep = 1 - (1 - p) ** r
    for i, values in enumerate(made.unbind(1)):
        kept = values != 0
        if H[i] == 0:
            assert not kept.any()
        else:
            assert binomtest(int(kept.sum()), N, keep[i]).pvalue > UNLIKELY
            np.testing.assert_allclose(values[kept], H[i] / keep[i], rtol=1e-5)


def test_the_mean_over_draws_is_the_activation() -> None:
    made = many(0.5).double()
    error = made.std(0) / N**0.5
    assert ((made.mean(0) - H).abs() <= 5 * error + 1e-12).all()


def test_two_draws_keep_what_a_draw_with_replacement_keeps() -> None:
    """Jointly, not only one by one: of two samples both are the same with sum p^2."""
    single = int((many(1 / 3) != 0).sum(1).eq(1).sum())
    p = H.abs().double() / H.abs().sum()
    assert binomtest(single, N, float(p.square().sum())).pvalue > UNLIKELY


@given(
    st.lists(st.sampled_from([0.0, 1e-30, 1e-3, 1.0, -2.0, 1e6]), min_size=1, max_size=8),
    st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=1, max_size=8),
)
def test_points_fall_where_the_quantiles_of_p_say(h: list[float], points: list[float]) -> None:
    made = factors(torch.tensor([h]), torch.tensor(points))[0]
    assert made.isfinite().all()
    ends = np.cumsum(np.abs(np.float32(h)).astype(np.float64))
    expected = np.zeros(len(h), dtype=bool)
    if ends[-1] > 0:
        expected[np.searchsorted(ends / ends[-1], np.float32(points), side="right")] = True
    assert ((made != 0).numpy() == expected).all()


def test_frozen_prunes_one_input_always_alike() -> None:
    layer, x = StochasticPruning(), torch.rand(3, 4, 5, generator=torch.manual_seed(0))
    with sketching.frozen(layer, seed=1):
        held = layer(x)
        assert torch.equal(layer(x), held)
        torch.testing.assert_close(layer(x[1:2]), held[1:2])  # by its own activations alone
    with sketching.frozen(layer, seed=2):
        assert not torch.equal(layer(x), held)
    with sketching.disabled(layer):
        assert torch.equal(layer(x), x)
    assert not torch.equal(layer(x), layer(x))


def test_a_ledger_replays_it() -> None:
    layer, x = StochasticPruning(), torch.rand(3, 40)
    with sketching.per_sample(layer), sketching.record(layer) as ledger:
        made = [layer(x), layer(x)]
    read = sketching.Ledger.from_dict(ledger.to_dict())
    with sketching.replay(layer, read):
        assert all(torch.equal(layer(x), each) for each in made)


def test_derivatives_average_to_those_without_pruning() -> None:
    layer, x = StochasticPruning(fraction=0.5), H.expand(N, -1).clone().requires_grad_()
    sketching.seed(layer, 0)
    with sketching.per_sample(layer):
        (slopes,) = torch.autograd.grad(layer(x).sum(), x)
    alive = H != 0
    error = slopes[:, alive].std(0) / N**0.5
    assert ((slopes[:, alive].mean(0) - 1).abs() <= 5 * error).all()


def test_a_pruned_twin_shares_its_weights_and_leaves_the_network_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)).eval()
    x, names = torch.rand(2, 3, 8, 8), set(network.state_dict())
    before = network(x)
    twin = pruned(network, fraction=1.0)
    assert len(sketching.sketches(twin)) == 1 and not sketching.sketches(network)
    assert set(network.state_dict()) == names
    with sketching.disabled(twin):
        torch.testing.assert_close(twin(x), before, rtol=0, atol=0)
    assert {id(p) for p in twin.parameters()} == {id(p) for p in network.parameters()}
    assert not torch.equal(twin(x), before)
    with pytest.raises(UsageError, match="stands behind ReLUs, and this network has none"):
        pruned(nn.Linear(2, 2), fraction=1.0)
    with pytest.raises(UsageError, match="samples must be a positive number, got 0"):
        StochasticPruning(fraction=0)


def test_it_joins_the_undefended_network_and_is_attacked_through_its_draws() -> None:
    """Nothing is trained twice; averages over draws see fresh ones."""
    defended = composed(["defence=sap", "theta=1", "model.width=4", "device=cpu", "attack=[]"])
    plain = surrogate_config(defended)
    assert train_config_hash(defended) == train_config_hash(plain)
    assert run_id(defended, "0" * 16) == run_id(plain, "0" * 16)
    assert eval_config_hash(defended, None) != eval_config_hash(plain, None)
    p = Plan(defended, task(split(8), split(8)))
    classifier = components.classifier(p, components.network(p))
    assert isinstance(classifier, Classifier) and len(sketching.sketches(classifier)) == 17
    x, y = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    with sketching.record(classifier) as ledger:
        eot_pgd(epsilon=8, unit=1 / 255, steps=2, draws=3)(classifier, x, y, (0.0, 1.0))
    made = next(iter(ledger.draws.values()))
    assert len(made) == (2 + 1) * 3
    assert len({str(each) for each in made}) == len(made)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["precision=xnor"], "defence=sap prunes behind ReLUs, binary layers have a sign in their"),
        (["defence.prune.fraction=0"], "defence.prune.fraction must be a positive number, got 0.0"),
    ],
)
def test_settings_of_pruning_that_cannot_be_are_refused(overrides: list[str], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        composed(["defence=sap", "theta=1", *overrides])
    assert str(caught.value).startswith(text)

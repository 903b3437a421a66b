"""Several draws of a batch under recalibrated BatchNorm: each part is a pass of its own.

The reference are single passes in float64, one draw each, and nn.BatchNorm2d by hand.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import defensive_tensorization as dt
from defensive_tensorization import sketching
from defensive_tensorization.attacks.expectation import Expectation, cross_entropy
from defensive_tensorization.errors import UsageError
from defensive_tensorization.models.batchnorm import DrawBatchNorm2d, Recalibrated
from defensive_tensorization.sketching import Ledger, products
from defensive_tensorization.tucker import TuckerConv2d, TuckerWeight
from defensive_tensorization.tucker import weight as tucker_weight
from defensive_tensorization.tucker.paths import contract_channels_of_draws

TIGHT = {"rtol": 1e-10, "atol": 1e-10}
CLASSES = 5


def images(n: int, seed: int = 0, size: int = 6) -> Tensor:
    made = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, size, size, generator=made, dtype=torch.float64)


def conv(c_in: int, c_out: int, min_dim: int = 3, theta: float = 0.7) -> TuckerConv2d:
    plain = nn.Conv2d(c_in, c_out, 3, padding=1)
    return TuckerConv2d.from_conv(plain, theta, init="random", min_dim=min_dim)


def network(min_dim: int = 3, *, binary: bool = False, twice: bool = False) -> nn.Sequential:
    """twice: the second convolution and norm stand in two places."""
    torch.manual_seed(0)
    again = conv(8, 8, min_dim)
    inner: nn.Module = dt.binarize(nn.Sequential(again), exclude=[])[0] if binary else again
    norm = DrawBatchNorm2d(8, "recalibrated")
    net = nn.Sequential(
        *(conv(3, 8, min_dim), DrawBatchNorm2d(8, "recalibrated"), nn.Tanh()),
        *((inner, norm, nn.Tanh()) if twice else ()),
        *(inner, norm),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES)),
    )
    for each in net:
        if isinstance(each, DrawBatchNorm2d):
            nn.init.normal_(each.weight, 1, 0.3)
            nn.init.normal_(each.bias)
    return net.double()


def deployed(min_dim: int = 3, **options: bool) -> Recalibrated:
    made = Recalibrated(network(min_dim, **options), images(7, seed=9)).eval()
    return made.requires_grad_(False)


def with_gradient(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of their weighted sum for x."""
    leaf = x.clone().requires_grad_()
    return by_weights(model(leaf), leaf)


def by_weights(z: Tensor, leaf: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.randn(z.shape, generator=torch.Generator().manual_seed(3), dtype=z.dtype)
    return z.detach(), torch.autograd.grad((z * weights).sum(), leaf)[0]


def one_by_one(ledger: Ledger, count: int) -> Ledger:
    """The draws of a forward's parts as those of `count` forwards."""

    def row(masks: Any, k: int) -> Any:
        return tuple(m if m is None else m[k] for m in masks)

    draws = ledger.draws.items()
    return Ledger({n: [row(m, k) for k in range(count) for m in made] for n, made in draws})


@pytest.mark.parametrize("size", [2, 12])  # of the images: other layers are factorized
@pytest.mark.parametrize("min_dim", [1, 3], ids=["window", "channels"])
@pytest.mark.parametrize("draws", [2, 3])
def test_each_part_is_a_pass_under_its_own_draw(draws: int, min_dim: int, size: int) -> None:
    model, x = deployed(min_dim, twice=True), images(2 * draws, 1, size)
    model.reference = images(7, 9, size)
    with sketching.draws_per_batch(model, draws), sketching.record(model) as ledger:
        found = with_gradient(model, x)
    assert {len(made) for made in ledger.draws.values()} == {1, 2}
    with sketching.replay(model, one_by_one(ledger, draws)):
        leaf = x.clone().requires_grad_()
        single = by_weights(torch.cat([model(part) for part in leaf.chunk(draws)]), leaf)
    for mine, reference in zip(found, single, strict=True):
        torch.testing.assert_close(mine, reference, **TIGHT)
    assert not torch.allclose(found[0][:2], found[0][2:4], atol=1e-3)


def test_by_hand() -> None:
    """Dense convolutions with each part's kernels, nn.BatchNorm2d in training on the reference."""
    net, draws, x = network(twice=True), 3, images(6, seed=1)
    model = Recalibrated(net, images(7, seed=9)).eval().requires_grad_(False)
    with sketching.draws_per_batch(model, draws), sketching.record(model) as ledger:
        found = model(x)
    first, second = (net[i].weight for i in (0, 3))
    alone = one_by_one(ledger, draws).draws
    for k, part in enumerate(x.chunk(draws)):
        masks = iter([alone["network.0.weight"][k], *alone["network.3.weight"][2 * k : 2 * k + 2]])
        seen, h = images(7, seed=9), part
        for layer in net:
            if isinstance(layer, TuckerConv2d):
                weight = first if layer is net[0] else second
                kernel = by_masks(weight, cast(tuple[Tensor | None, ...], next(masks)))
                seen, h = (
                    nn.functional.conv2d(each, kernel, layer.bias, 1, 1) for each in (seen, h)
                )
            elif isinstance(layer, DrawBatchNorm2d):
                plain = nn.BatchNorm2d(8, momentum=1.0).double().train().requires_grad_(False)
                plain.load_state_dict(layer.state_dict())
                n = seen.numel() / 8
                seen = plain(seen)
                cast(Tensor, plain.running_var).mul_((n - 1) / n)  # kept unbiased, used biased
                h = plain.eval()(h)
            else:
                seen, h = layer(seen), layer(h)
        torch.testing.assert_close(found[2 * k : 2 * k + 2], h, **TIGHT)


def by_masks(weight: TuckerWeight, masks: tuple[Tensor | None, ...]) -> Tensor:
    """Eq. 4 by einsum, with masks as diagonal matrices."""
    factors = [
        u if m is None else u @ torch.diag(m).double()
        for u, m in zip(weight.factors, masks, strict=True)
    ]
    return torch.einsum("abcd,wa,xb,yc,zd->wxyz", weight.core, *factors)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(2, 6), st.booleans())
def test_any_number_of_parts(draws: int, each: int, reference: int, window: bool) -> None:
    """By the same numbers of the generators, as a loop of single passes takes them."""
    model = deployed(1 if window else 3)
    model.reference = images(reference, seed=2)
    x = images(draws * each, seed=1)
    sketching.seed(model, 8)
    with torch.no_grad(), sketching.draws_per_batch(model, draws):
        found = model(x)
    sketching.seed(model, 8)
    with torch.no_grad():
        single = torch.cat([model(part) for part in x.split(each)])
    torch.testing.assert_close(found, single, **TIGHT)


def test_each_example_with_its_own_draw_has_its_own_statistics() -> None:
    model, x = deployed(), images(4, seed=1)
    sketching.seed(model, 2)
    with sketching.per_sample(model):
        found = model(x)
    sketching.seed(model, 2)
    torch.testing.assert_close(found, torch.cat([model(each[None]) for each in x]), **TIGHT)


def test_binary_layers() -> None:
    model, x = deployed(binary=True), images(4, seed=1)
    sketching.seed(model, 2)
    with sketching.draws_per_batch(model, 2):
        found = model(x)
    sketching.seed(model, 2)
    torch.testing.assert_close(found, torch.cat([model(part) for part in x.chunk(2)]), **TIGHT)


def test_records_and_frozen_draws_are_those_of_the_parts() -> None:
    model, x = deployed(twice=True), images(6, seed=1)
    with sketching.draws_per_batch(model, 3):
        with sketching.record(model) as ledger:
            first, second = model(x), model(x)
        assert all(d is not None for d in chain(*ledger.draws.values()))
        assert {len(made) for made in ledger.draws.values()} == {2, 4}
        with sketching.replay(model, ledger):
            assert torch.equal(model(x), first)
            assert torch.equal(model(x), second)
        assert not torch.allclose(first, second)
        with sketching.frozen(model, seed=1):
            assert torch.equal(model(x), model(x))
        with sketching.disabled(model):
            full = model(x)
    with sketching.disabled(model):
        torch.testing.assert_close(full, model(x), **TIGHT)


@pytest.mark.parametrize("average", ["gradient", "loss", "probability", "logit"])
def test_an_averaging_attack_asks_the_same_together(average: str) -> None:
    x, y = images(3, seed=1), torch.arange(3)
    made = []
    for together in (1, 2, 5):
        model = deployed()
        sketching.seed(model, 4)
        options = {"draws": 5, "average": average, "together": together}
        made.append(Expectation(model, x, cross_entropy, **options)(x, y))  # type: ignore[arg-type]
    for other in made[1:]:
        torch.testing.assert_close(other.loss, made[0].loss, **TIGHT)
        torch.testing.assert_close(other.gradient, made[0].gradient, **TIGHT)
        assert torch.equal(other.right, made[0].right)


def test_the_reference_passes_in_the_layout_of_the_examples() -> None:
    model, x = deployed(), images(4, seed=1)
    layouts: list[bool] = []
    last = torch.channels_last
    model.network[0].register_forward_pre_hook(
        lambda _, given: layouts.append(given[0].is_contiguous(memory_format=last))
    )
    with sketching.frozen(model, seed=0):
        expected, found = model(x), model(x.contiguous(memory_format=last))
    torch.testing.assert_close(found, expected, **TIGHT)
    assert layouts == [False, False, True, True]


def test_bfloat16_stays_close() -> None:
    model = deployed().float()
    x = images(6, seed=1).float()
    with sketching.draws_per_batch(model, 3), sketching.frozen(model, seed=0):
        exact = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(x)
    assert float((rough.float() - exact).norm() / exact.norm()) < 0.05


class InCheckpoints(nn.Module):
    """Each layer of a network is run again in the backward pass."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False)
        return x


def test_a_forward_that_is_run_again_meets_the_same_statistics() -> None:
    x, found = images(6, seed=1), []
    for wrap in (nn.Sequential, InCheckpoints):
        layers = network(twice=True)
        model = Recalibrated(layers if wrap is nn.Sequential else InCheckpoints(layers), images(7))
        model.eval().requires_grad_(False)
        sketching.seed(model, 1)
        with sketching.draws_per_batch(model, 3):
            found.append(with_gradient(model, x))
    for mine, reference in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(mine, reference, **TIGHT)


# --- kernels ------------------------------------------------------------------------------------


ONE, SEVERAL = "contract_channels", "contract_channels_of_draws"


@pytest.fixture
def contractions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The function that was called, for each kernel, or kernels of several draws."""
    made: list[str] = []

    def counted(name: str, ordinary: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def count(*given: Tensor) -> Tensor:
            made.append(name)
            return ordinary(*given)

        return count

    for name in (ONE, SEVERAL):
        monkeypatch.setattr(tucker_weight, name, counted(name, getattr(tucker_weight, name)))
    return made


@pytest.mark.parametrize(
    ("draws", "min_dim", "expected"),
    [(1, 1, [ONE] * 3), (3, 1, [ONE] * 9), (1, 3, [ONE] * 3), (3, 3, [SEVERAL] * 3)],
)
def test_a_kernel_is_computed_once_a_draw(
    draws: int, min_dim: int, expected: list[str], contractions: list[str]
) -> None:
    """Three layers of a forward; the reference and the examples share them."""
    model, x = deployed(min_dim, twice=True), images(6, seed=1, size=12)
    model.reference = images(7, 9, 12)
    with sketching.draws_per_batch(model, draws):
        with_gradient(model, x)
    assert contractions == expected
    model(x)
    assert contractions == expected + [ONE] * 3  # nothing is kept beyond the forward


def test_kernels_that_want_a_gradient_are_computed_again(contractions: list[str]) -> None:
    model, x = deployed(1, twice=True).requires_grad_(True), images(6, seed=1, size=12)
    model.reference = images(7, 9, 12)
    with sketching.draws_per_batch(model, 3), sketching.record(model) as ledger:
        z = model(x)
    assert len(contractions) == 2 * 3 * 3
    ours = torch.autograd.grad(z.square().sum(), [*model.parameters()])
    with sketching.replay(model, one_by_one(ledger, 3)):
        single = torch.cat([model(part) for part in x.chunk(3)])
    theirs = torch.autograd.grad(single.square().sum(), [*model.parameters()])
    for mine, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, reference, **TIGHT)


def test_a_kernel_in_another_s_hands_is_a_copy() -> None:
    weight = conv(3, 8).weight.requires_grad_(False)
    with products.kept(), sketching.frozen(weight, seed=0):
        expected = weight().clone()
        weight().zero_()
        torch.testing.assert_close(weight(), expected)


# --- bad input ----------------------------------------------------------------------------------


def test_parts_that_are_not_equal_are_refused() -> None:
    model = deployed()
    with (
        sketching.draws_per_batch(model, 4),
        pytest.raises(UsageError, match="6 examples have no 4 equal parts"),
    ):
        model(images(6))


def test_layers_with_several_numbers_of_draws_are_refused() -> None:
    model = deployed()
    first, second = (model.network.get_submodule(i) for i in "03")
    with (
        sketching.draws_per_batch(first, 2),
        sketching.draws_per_batch(second, 3),
        pytest.raises(UsageError, match="have 2 and 3 draws in a batch"),
    ):
        model(images(6))


# --- the products of draws ----------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 4),
    st.tuples(*[st.integers(1, 5)] * 4),
    st.lists(st.integers(1, 3), max_size=3),
    st.sampled_from(["first", "second", "both"]),
)
def test_kernels_of_several_draws(
    draws: int, sizes: tuple[int, ...], window: list[int], masked: str
) -> None:
    """Against einsum, factor by factor; a factor that no draw masks is one for all."""
    n0, r0, n1, r1 = sizes
    made = torch.Generator().manual_seed(0)
    core = torch.randn(r0, r1, *window, generator=made, dtype=torch.float64)
    first, second = (
        torch.randn(draws, n, r, generator=made, dtype=torch.float64)
        for n, r in ((n0, r0), (n1, r1))
    )
    expected = torch.einsum("zwa,ab...,zxb->zwx...", first, core, second)
    if masked != "both":
        first, second = (first, second[0]) if masked == "first" else (first[0], second)
        whole = [u if u.ndim == 3 else u.expand(draws, -1, -1) for u in (first, second)]
        expected = torch.einsum("zwa,ab...,zxb->zwx...", whole[0], core, whole[1])
    found = contract_channels_of_draws(core, first, second)
    torch.testing.assert_close(found, expected, **TIGHT)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_transposed_convolutions(d: int) -> None:
    """Its first mode is the input's: activations cannot take the masks as elsewhere."""
    kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[d - 1]
    torch.manual_seed(0)
    layer = dt.tensorize(kind(4, 6, 3, padding=1).double(), theta=0.6, min_dim=3)
    x = torch.randn(4, 4, *[5] * d, dtype=torch.float64)
    for opened, draws in (
        (sketching.per_sample(layer), 4),
        (sketching.draws_per_batch(layer, 2), 2),
    ):
        sketching.seed(layer, 0)
        with opened:
            found = layer(x)
        sketching.seed(layer, 0)
        single = torch.cat([layer(part) for part in x.chunk(draws)])
        torch.testing.assert_close(found, single, **TIGHT)

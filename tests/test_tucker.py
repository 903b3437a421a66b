"""The random Tucker kernel against einsum, dense layers, TensorLy and finite differences."""

import copy
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
import tensorly as tl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tensorly.decomposition import tucker
from torch import Tensor, nn
from torch.func import functional_call

from defensive_tensorization import sketching, tensorize
from defensive_tensorization.errors import UsageError
from defensive_tensorization.sketching import Ledger
from defensive_tensorization.sketching.bernoulli import Masks
from defensive_tensorization.tucker import (
    TuckerConv1d,
    TuckerConv2d,
    TuckerConv3d,
    TuckerWeight,
    conv_factory,
    reconstruct,
)
from defensive_tensorization.tucker import weight as tucker_weight
from defensive_tensorization.tucker.decompose import decompose

Array = NDArray[np.float64]


def equation_4(core: Array, factors: list[Array], masks: list[Array | None]) -> Array:
    """(G x_0 M_0 ... x_d M_d) x_0 U_0 ... x_d U_d, the masks as diagonal matrices, by einsum."""
    latent, out = "abcde"[: core.ndim], "vwxyz"[: core.ndim]
    for mode, mask in enumerate(masks):
        if mask is not None:
            masked = latent.replace(latent[mode], "m")
            core = np.einsum(f"{latent},m{latent[mode]}->{masked}", core, np.diag(mask))
    terms = ",".join(o + r for o, r in zip(out, latent, strict=True))
    kernel: Array = np.einsum(f"{latent},{terms}->{out}", core, *factors)
    return kernel


def full(weight: TuckerWeight) -> Tensor:
    with sketching.disabled(weight):
        return weight().detach()


def under(weight: TuckerWeight, masks: Masks) -> Tensor:
    """The kernel under these very masks."""
    with sketching.replay(weight, Ledger({"": [masks]})):
        return weight().detach()


@st.composite
def tucker_tensors(draw: st.DrawFn) -> tuple[Array, list[Array], list[Array | None]]:
    size = st.integers(1, 5)
    shapes = draw(st.lists(st.tuples(size, size), min_size=2, max_size=5))  # (n, r) of each mode
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    masks = [
        draw(st.none() | st.lists(st.sampled_from([0.0, 1.0]), min_size=r, max_size=r))
        for _, r in shapes
    ]
    return (
        random.normal(size=[r for _, r in shapes]),
        [random.normal(size=shape) for shape in shapes],
        [None if m is None else np.array(m) for m in masks],
    )


@settings(max_examples=40)
@given(tucker_tensors())
def test_reconstruct_is_equation_3_and_4(
    made: tuple[Array, list[Array], list[Array | None]],
) -> None:
    core, factors, masks = made
    plain = reconstruct(torch.from_numpy(core), [torch.from_numpy(u) for u in factors])
    np.testing.assert_allclose(plain, equation_4(core, factors, [None] * core.ndim), atol=1e-10)

    weight = TuckerWeight(torch.from_numpy(core), [torch.from_numpy(u) for u in factors], 0.5)
    drawn = tuple(None if m is None else torch.from_numpy(m).float() for m in masks)
    sketched = under(weight, drawn) if any(m is not None for m in masks) else full(weight)
    assert tuple(sketched.shape) == weight.shape == tuple(len(u) for u in factors)
    np.testing.assert_allclose(sketched, equation_4(core, factors, masks), atol=1e-10)


@settings(max_examples=40)
@given(tucker_tensors(), st.lists(st.booleans(), min_size=5, max_size=5))
def test_factors_may_lie_in_memory_either_way(
    made: tuple[Array, list[Array], list[Array | None]], turned: list[bool]
) -> None:
    core, factors, _ = made
    laid = [torch.from_numpy(u) for u in factors]
    laid = [u.T.contiguous().T if t else u for u, t in zip(laid, turned, strict=False)]
    expected = equation_4(core, factors, [None] * core.ndim)
    np.testing.assert_allclose(reconstruct(torch.from_numpy(core), laid), expected, atol=1e-10)


@pytest.mark.parametrize("rank", [0.3, 0.5, 0.7, 1.0, "same"])
@pytest.mark.parametrize("window", [(2, 3), (3, 2), (1, 4), (4, 3), (2, 3, 4), (5,)])
@pytest.mark.parametrize("init", ["hosvd", "random"])
def test_windows_of_any_sides_and_ranks(window: tuple[int, ...], rank: Any, init: str) -> None:
    torch.manual_seed(0)
    dense = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(window) - 1](4, 6, window).double()  # type: ignore[operator]
    net = tensorize(nn.Sequential(dense), theta=0.5, rank=rank, init=init)
    weight, x = net[0].weight, torch.rand(2, 4, *[6] * len(window), dtype=torch.float64)
    with sketching.frozen(net, seed=1), sketching.record(net) as ledger:
        y = net(x)
    core, *factors = [p.detach().numpy() for p in (weight.core, *weight.factors)]
    masks = [None if m is None else m.numpy() for m in ledger.draws["0.weight"][0] or ()]
    kernel = torch.from_numpy(equation_4(core, factors, masks))
    convolution = (torch.conv1d, torch.conv2d, torch.conv3d)[len(window) - 1]
    torch.testing.assert_close(y, convolution(x, kernel, dense.bias))


def test_forward_uses_the_drawn_masks() -> None:
    weight = TuckerWeight.from_dense(torch.randn(6, 5, 4, 3, dtype=torch.float64), 0.6)
    with sketching.record(nn.ModuleList([weight])) as ledger, torch.no_grad():
        kernel = weight()
    ((masks,),) = ledger.draws.values()
    assert masks is not None
    expected = equation_4(
        weight.core.detach().numpy(),
        [u.detach().numpy() for u in weight.factors],
        [None if m is None else m.double().numpy() for m in masks],
    )
    np.testing.assert_allclose(kernel, expected, atol=1e-12)


DENSE = {1: (nn.Conv1d, TuckerConv1d), 2: (nn.Conv2d, TuckerConv2d), 3: (nn.Conv3d, TuckerConv3d)}
CASES = [  # dimensions, channels in and out, kernel, batch, size, path without a gradient
    (1, 24, 32, 5, 1, 12, "factorized"),
    (1, 6, 8, 5, 16, 40, "reconstruct"),
    (2, 32, 24, 3, 1, 6, "factorized"),
    (2, 8, 6, 3, 8, 12, "reconstruct"),
    (3, 32, 24, 3, 1, 4, "factorized"),
    (3, 4, 6, 2, 4, 6, "reconstruct"),
]


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize(("dims", "c_in", "c_out", "k", "batch", "size", "path"), CASES)
def test_either_path_is_the_convolution_with_the_drawn_kernel(
    dims: int, c_in: int, c_out: int, k: int, batch: int, size: int, path: str, rescale: bool
) -> None:
    torch.manual_seed(0)
    plain, randomized = DENSE[dims]
    conv = plain(c_in, c_out, k, stride=2, padding=1).double()
    layer = randomized.from_conv(conv, 0.6, rescale=rescale)
    x = torch.randn(batch, c_in, *[size] * dims, dtype=torch.float64)
    with torch.no_grad():
        assert layer._cheaper_factorized(x) == (path == "factorized")
    live, off = partial(sketching.frozen, seed=3), sketching.disabled
    for sketch, frozen in product((live, off), (False, True)):  # training; fixed weights, attacked
        layer.requires_grad_(not frozen)
        with sketch(layer):
            kernel = layer.weight()
            seen, known = (x.clone().requires_grad_() for _ in range(2))
            y = layer(seen)
            expected = layer.convolution(known, kernel, layer.bias, stride=2, padding=1)
            torch.testing.assert_close(y, expected)
            weights = torch.randn_like(y)
            parameters = [] if frozen else list(layer.parameters())
            ours = torch.autograd.grad((y * weights).sum(), [seen, *parameters])
            theirs = torch.autograd.grad((expected * weights).sum(), [known, *parameters])
            for mine, reference in zip(ours, theirs, strict=True):
                torch.testing.assert_close(mine, reference)


@pytest.mark.parametrize("options", [{"min_dim": 5}, {}], ids=["channels", "window"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("draws", [1, 2, 4])
@pytest.mark.parametrize("size", [5, 14])  # of the image: factorized, reconstruct
def test_each_part_of_a_batch_meets_its_own_draw(
    options: dict[str, Any], groups: int, draws: int, size: int
) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(24, 16, 3, stride=2, padding=1, groups=groups).double()
    layer = TuckerConv2d.from_conv(conv, 0.6, rescale=True, **options).requires_grad_(False)
    x = torch.randn(4, 24, size, size, dtype=torch.float64).requires_grad_()
    with sketching.draws_per_batch(layer, draws), sketching.record(layer) as ledger:
        y = layer(x)
    ((masks,),) = ledger.draws.values()
    assert masks is not None and masks[0] is not None
    assert masks[0].shape == ((16,) if draws == 1 else (draws, 16))
    expected = []
    for i, part in enumerate(x.chunk(draws)):
        own = masks if draws == 1 else tuple(m if m is None else m[i] for m in masks)
        kernel = under(layer.weight, own)
        expected.append(nn.functional.conv2d(part, kernel, layer.bias, 2, 1, 1, groups))
    together = torch.cat(expected)
    torch.testing.assert_close(y, together)
    weights = torch.randn_like(y)
    ours, theirs = (torch.autograd.grad((z * weights).sum(), x)[0] for z in (y, together))
    torch.testing.assert_close(ours, theirs)


# --- the start --------------------------------------------------------------------------------


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm())


@pytest.mark.parametrize("init", ["hosvd", "random"])
@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (32, 16, 1, 1), (2, 9, 5, 1), (1, 1, 1, 1)])
def test_exact_start(shape: tuple[int, ...], init: str) -> None:
    kernel = torch.randn(shape)
    weight = TuckerWeight.from_dense(kernel, 0.9, init=init)
    assert weight.core.shape == kernel.shape
    with sketching.disabled(weight):
        assert distance(weight(), kernel) < 1e-6
    for u in weight.factors:
        torch.testing.assert_close(u.T @ u, torch.eye(u.shape[1]), atol=1e-5, rtol=0)


CONVOLUTIONS: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": (1, 2), "padding": (2, 0), "bias": False},
    {"padding": "same", "dilation": 2},
    {"padding": "valid", "dilation": (1, 2)},
    {"groups": 4, "padding": 1},
    {"groups": 8, "stride": 2, "bias": False},
    {"kernel_size": 1, "stride": 2, "bias": False},
    {"padding": (1, 2), "padding_mode": "reflect"},
    {"padding": "same", "dilation": 2, "padding_mode": "circular"},
    {"kernel_size": (5, 2), "groups": 2, "dilation": (1, 3), "padding": (2, 1)},
]


@pytest.mark.parametrize("init", ["hosvd", "random"])
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
def test_at_theta_1_it_is_the_dense_convolution(options: dict[str, Any], init: str) -> None:
    dense = nn.Conv2d(8, 16, **{"kernel_size": 3} | options)
    live = TuckerConv2d.from_conv(dense, 1.0, init=init)
    sketched = TuckerConv2d.from_conv(dense, 0.5, init=init)
    x = torch.randn(3, 8, 11, 9)
    assert distance(live(x), dense(x)) < 1e-5
    with sketching.disabled(sketched):
        assert distance(sketched(x), dense(x)) < 1e-5
    assert distance(sketched(x), dense(x)) > 1e-2


def test_dtype_is_kept() -> None:
    dense = nn.Conv2d(4, 6, 3).double()
    conv = TuckerConv2d.from_conv(dense, 1.0)
    assert {p.dtype for p in conv.parameters()} == {torch.float64}
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    assert distance(conv(x), dense(x)) < 1e-13


def test_the_dense_layer_is_left_alone() -> None:
    dense = nn.Conv2d(4, 6, 3)
    before = copy.deepcopy(dense.state_dict())
    conv = TuckerConv2d.from_conv(dense, 1.0)
    with torch.no_grad():
        for p in conv.parameters():
            p.zero_()
    assert all(torch.equal(before[k], v) for k, v in dense.state_dict().items())


def test_factory_starts_where_conv2d_does() -> None:
    make = conv_factory(theta=1.0)
    torch.manual_seed(0)
    dense = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    torch.manual_seed(0)
    conv = make(3, 8, 3, stride=2, padding=1)
    x = torch.randn(2, 3, 8, 8)
    assert distance(conv(x), dense(x)) < 1e-5


def test_factory_hands_every_option_on() -> None:
    make = conv_factory(theta=0.5, rank=0.5, modes=[0], min_dim=2, min_keep=4, rescale=True)
    conv = make(8, 16, 3)
    assert isinstance(conv, TuckerConv2d)
    assert conv.weight.core.shape == (8, 4, 2, 2)
    sketch = conv.weight.sketch
    assert (sketch.theta, sketch.modes, sketch.min_keep) == (0.5, (0,), 4)
    assert conv.weight.rescale


# --- expectation ------------------------------------------------------------------------------


def small(**options: Any) -> TuckerWeight:
    made = torch.Generator().manual_seed(0)
    kernel = torch.randn(4, 3, 3, 2, generator=made, dtype=torch.float64)
    return TuckerWeight.from_dense(kernel, 0.6, **options)


@pytest.mark.parametrize(
    "options, fraction",
    [
        ({"min_keep": 0}, 0.6**4),
        ({}, (0.6 + 0.4**4 / 4) * (0.6 + 0.4**3 / 3) ** 2 * (0.6 + 0.4**2 / 2)),
        ({"min_dim": 3}, 0.6 + 0.4**4 / 4),
        ({"modes": [1, 3], "min_keep": 0}, 0.36),
        ({"modes": []}, 1.0),
    ],
)
def test_expectation_over_draws(options: dict[str, Any], fraction: float) -> None:
    weight, draws = small(**options), 1500
    assert weight.kept_fraction == pytest.approx(fraction, abs=1e-12)
    sketching.seed(weight, 0)
    with torch.no_grad():
        kernels = torch.stack([weight() for _ in range(draws)])
    error = kernels.std(0) / draws**0.5 + 1e-12
    assert float(((kernels.mean(0) - fraction * full(weight)) / error).abs().max()) < 5


def test_under_a_theta_that_is_set_later_rescaled_kernels_have_the_full_mean() -> None:
    kernel, draws = small()(), 1500
    weight = TuckerWeight.from_dense(kernel, 1.0, rescale=True)
    weight.sketch.theta = 0.3
    sketching.seed(weight, 0)
    with torch.no_grad():
        kernels = torch.stack([weight() for _ in range(draws)])
    error = kernels.std(0) / draws**0.5 + 1e-12
    assert float(((kernels.mean(0) - kernel) / error).abs().max()) < 5
    assert int((kernels.flatten(1).norm(dim=1) == 0).sum()) == 0  # min_keep


def test_exact_expectation_over_all_masks() -> None:
    """No sampling: every mask of an independent sketch, weighed by its probability."""
    theta, shape = 0.3, (3, 2, 2)
    core = torch.randn(shape, dtype=torch.float64)
    factors = [torch.randn(n, n, dtype=torch.float64) for n in shape]
    weight = TuckerWeight(core, factors, theta, min_keep=0)
    mean = torch.zeros(shape, dtype=torch.float64)
    for bits in product([0.0, 1.0], repeat=sum(shape)):
        kept = sum(bits)
        masks = tuple(torch.tensor(bits).split(shape))
        mean += theta**kept * (1 - theta) ** (len(bits) - kept) * under(weight, masks)
    torch.testing.assert_close(mean, weight.kept_fraction * full(weight))


def test_rescaling_divides_by_the_kept_fraction() -> None:
    as_printed, rescaled = small(), small(rescale=True)
    with sketching.frozen(as_printed, seed=1), sketching.frozen(rescaled, seed=1):
        torch.testing.assert_close(rescaled(), as_printed() / as_printed.kept_fraction)
    with sketching.disabled(rescaled):
        torch.testing.assert_close(rescaled(), full(as_printed))


def test_a_mode_named_twice_counts_once() -> None:
    assert small(modes=[0, 0]).kept_fraction == pytest.approx(small(modes=[0]).kept_fraction)


# --- rank and basis ---------------------------------------------------------------------------

KERNELS = [((12, 8, 3, 3), 0.5), ((10, 6, 3, 2), 0.7), ((24, 12, 1, 1), 0.5)]


@pytest.mark.parametrize("shape, rank", KERNELS)
def test_rank_fraction_fits_as_well_as_tensorly(shape: tuple[int, ...], rank: float) -> None:
    kernel = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ranks = [max(1, round(rank * n)) for n in shape]
    core, factors = decompose(kernel, rank)
    assert list(core.shape) == ranks
    theirs = tucker(kernel.numpy(), rank=ranks, n_iter_max=100)
    best = np.linalg.norm(tl.tucker_to_tensor(theirs) - kernel.numpy())
    ours = float((reconstruct(core, factors) - kernel).norm())
    assert ours <= 1.001 * best
    truncated = [u[:, :r] for u, r in zip(decompose(kernel)[1], ranks, strict=True)]
    projected = equation_4(
        equation_4(kernel.numpy(), [u.T.numpy() for u in truncated], [None] * 4),
        [u.numpy() for u in truncated],
        [None] * 4,
    )
    assert ours <= np.linalg.norm(projected - kernel.numpy()) * (1 + 1e-9)  # HOOI beats HOSVD


@pytest.mark.parametrize("init", ["hosvd", "random"])
def test_lower_rank_is_the_same_fit_in_either_basis(init: str) -> None:
    kernel = torch.randn(12, 8, 3, 3, dtype=torch.float64)
    plain = reconstruct(*decompose(kernel, 0.5))
    core, factors = decompose(kernel, 0.5, init)
    torch.testing.assert_close(reconstruct(core, factors), plain)
    for u in factors:
        torch.testing.assert_close(u.T @ u, torch.eye(u.shape[1], dtype=u.dtype))


@pytest.mark.parametrize("shape", [(12, 10, 3, 3), (32, 16, 1, 1), (16, 8, 5, 1)])
def test_rank_same_has_about_as_many_parameters(shape: tuple[int, ...]) -> None:
    weight = TuckerWeight.from_dense(torch.randn(shape), 1.0, rank="same")
    parameters = sum(p.numel() for p in weight.parameters())
    dense = int(np.prod(shape))
    assert abs(parameters - dense) <= 0.15 * dense
    assert weight.core.numel() < dense


def test_a_low_rank_kernel_is_found() -> None:
    factors = [torch.randn(n, r, dtype=torch.float64) for n, r in [(16, 4), (8, 4), (4, 2), (4, 2)]]
    kernel = reconstruct(torch.randn(4, 4, 2, 2, dtype=torch.float64), factors)
    core, found = decompose(kernel, 0.5)
    assert core.shape == (8, 4, 2, 2)
    assert distance(reconstruct(core, found), kernel) < 1e-6


def test_hosvd_orders_the_components_by_energy() -> None:
    kernel = torch.randn(12, 7, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    core, _ = decompose(kernel)
    for mode, n in enumerate(kernel.shape):
        slices = core.movedim(mode, 0).flatten(1).numpy()
        energies = np.linalg.norm(slices, axis=1)
        unfolded = kernel.movedim(mode, 0).flatten(1).numpy()
        np.testing.assert_allclose(energies, np.linalg.svd(unfolded, compute_uv=False)[:n])
        np.testing.assert_allclose(slices @ slices.T, np.diag(energies**2), atol=1e-9)


def test_random_basis_spreads_the_energy() -> None:
    kernel = torch.zeros(16, 16, 1, 1)
    kernel[3, 5] = 1.0  # one component carries it all in the HOSVD basis
    ordered, spread = decompose(kernel)[0], decompose(kernel, init="random")[0]
    assert float(ordered[0].norm()) > 0.999
    assert float(spread.flatten(1).norm(dim=1).max()) < 0.9


# --- as a layer -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"rescale": True, "rank": 0.5}])
def test_gradcheck_under_a_frozen_sketch(options: dict[str, Any]) -> None:
    dense = nn.Conv2d(3, 2, (3, 2), stride=(1, 2), padding=1).double()
    conv = TuckerConv2d.from_conv(dense, 0.6, **options)
    names, parameters = zip(*conv.named_parameters(), strict=True)
    assert len(names) == 6
    x = torch.randn(2, 3, 3, 3, dtype=torch.float64, requires_grad=True)

    def forward(x: Tensor, *values: Tensor) -> Tensor:
        out: Tensor = functional_call(conv, dict(zip(names, values, strict=True)), (x,))
        return out

    with sketching.frozen(conv, seed=2):
        assert torch.autograd.gradcheck(forward, (x, *parameters))


def halve(conv: TuckerConv2d) -> None:
    with torch.no_grad():
        conv.weight.core *= 0.5


def halve_data(conv: TuckerConv2d) -> None:
    conv.weight.core.data *= 0.5  # moves no version counter


def load(conv: TuckerConv2d) -> None:
    state = conv.state_dict()
    conv.load_state_dict(state | {"weight.core": state["weight.core"] / 2})


def step(conv: TuckerConv2d) -> None:
    conv.weight.core.grad = conv.weight.core.detach().clone()
    torch.optim.SGD([conv.weight.core], lr=0.5).step()


def step_fused(conv: TuckerConv2d) -> None:
    """Moves no version counter either."""
    conv.weight.core.grad = conv.weight.core.detach().clone()
    torch.optim.SGD([conv.weight.core], lr=0.5, fused=True).step()


@pytest.mark.parametrize("change", [halve, load, step, step_fused, halve_data])
@pytest.mark.parametrize("theta", [1.0, 0.6])
def test_what_is_kept_between_forwards_follows_the_parameters(
    change: Callable[[TuckerConv2d], None], theta: float
) -> None:
    conv = TuckerConv2d.from_conv(nn.Conv2d(8, 8, 3, bias=False), theta, min_dim=3).eval()
    x = torch.randn(2, 8, 5, 5)
    for wanted in (True, False):
        conv.requires_grad_(wanted)
        with torch.no_grad(), sketching.frozen(conv, seed=0):
            before = conv(x)
            change(conv)
            torch.testing.assert_close(conv(x), before / 2)
    with sketching.frozen(conv, seed=0):
        frozen_parameters = conv(x)
        conv.requires_grad_(True)
        torch.testing.assert_close(conv(x).detach(), frozen_parameters)


def test_what_is_kept_is_of_the_parameters_that_a_functional_call_hands_in() -> None:
    """Of the same shapes, and where memory is reused at the same address."""
    conv = TuckerConv2d.from_conv(nn.Conv2d(16, 16, 1, bias=False), 1.0).eval()
    x = torch.randn(4, 16, 8, 8)
    own = {name: p.detach().clone() for name, p in conv.named_parameters()}

    def scaled(by: float) -> Tensor:
        core = {"weight.core": own["weight.core"] * by}
        with torch.no_grad():
            out: Tensor = functional_call(conv, own | core, (x,))
        return out

    for by in (1.0, 2.0, 3.0, 4.0):
        torch.testing.assert_close(scaled(by), conv(x).detach() * by)


@pytest.mark.parametrize("theta", [1.0, 0.6])
def test_what_is_kept_survives_a_further_call_of_eval(
    theta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = TuckerConv2d.from_conv(nn.Conv2d(8, 8, 3), theta, min_dim=3).eval()
    computed: list[int] = []
    for name in ("contract_window", "contract_channels"):
        contract = getattr(tucker_weight, name)
        monkeypatch.setattr(
            tucker_weight, name, lambda *a, c=contract, **k: (computed.append(1), c(*a, **k))[1]
        )
    x = torch.randn(2, 8, 5, 5)

    def contractions() -> int:
        computed.clear()
        with torch.no_grad(), sketching.frozen(conv, seed=0):
            conv(x)
        return len(computed)

    first, then = contractions(), contractions()
    assert first > then
    conv.eval()
    assert contractions() == then
    conv.train().eval()
    assert contractions() == first


def test_a_layer_made_in_inference_mode_works() -> None:
    with torch.inference_mode():
        dense = nn.Conv2d(4, 4, 3)
        x = torch.randn(1, 4, 5, 5)
        assert distance(TuckerConv2d.from_conv(dense, 1.0).eval()(x), dense(x)) < 1e-5


def test_writing_to_a_kernel_does_not_change_the_next() -> None:
    weight = TuckerWeight.from_dense(torch.randn(4, 4, 3, 3), 1.0).eval()
    with torch.no_grad():
        before = weight().clone()
        weight().zero_()
        assert torch.equal(weight(), before)


def test_state_loads_without_running_code(tmp_path: Any) -> None:
    first, second = (TuckerConv2d.from_conv(nn.Conv2d(4, 6, 3), 0.7) for _ in range(2))
    torch.save(first.state_dict(), tmp_path / "conv.pt")
    second.load_state_dict(torch.load(tmp_path / "conv.pt", weights_only=True))
    twin, x = copy.deepcopy(second), torch.randn(1, 4, 5, 5)
    with sketching.frozen(first, seed=0), sketching.frozen(second, seed=0):
        assert torch.equal(first(x), second(x))
    with sketching.frozen(first, seed=0), sketching.frozen(twin, seed=0):
        assert torch.equal(first(x), twin(x))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"init": "svd"}, "init must be 'hosvd' or 'random', got 'svd'"),
        ({"rank": "half"}, "rank must be 'full', 'same' or a fraction in (0, 1], got 'half'"),
        ({"rank": 0}, "rank must be 'full', 'same' or a fraction in (0, 1], got 0"),
        ({"rank": 1.5}, "rank must be 'full', 'same' or a fraction in (0, 1], got 1.5"),
        ({"theta": 0}, "theta must lie in (0, 1], got 0"),
        ({"modes": [4]}, "mode 4 does not exist: the core has modes 0 to 3"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        conv_factory(**{"theta": 0.9} | options)(4, 4, 3)
    assert message in str(error.value)


def test_core_and_factors_must_agree() -> None:
    with pytest.raises(UsageError) as error:
        TuckerWeight(torch.ones(2, 3), [torch.ones(4, 2), torch.ones(4, 4)], 0.9)
    assert str(error.value) == "the core's shape [2, 3] must equal the factors' ranks [2, 4]"

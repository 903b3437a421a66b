"""Binary layers against Eq. 5 in loops, against bits, and against derivatives written by hand."""

import copy
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.errors import UsageError
from defensive_tensorization.tucker import TuckerConv1d, TuckerConv2d, TuckerLinear
from defensive_tensorization.xnor import (
    SIGN_GRADIENTS,
    XnorConv1d,
    XnorConv2d,
    XnorConv3d,
    XnorLinear,
    sign_gradient,
)
from defensive_tensorization.xnor.product import latent
from defensive_tensorization.xnor.sign import derivative
from defensive_tensorization.xnor.sign import sgn as signs_of

Array = npt.NDArray[np.float64]


def sgn(value: float) -> float:
    return 1.0 if value >= 0 else -1.0


def eq5(image: Array, weight: Array, stride: int, padding: int, dilation: int = 1) -> Array:
    """Eq. 5 for image [C, *size] and latent weight [F, C, *window], as sums over single numbers."""
    filters, channels, *window = weight.shape
    size = image.shape[1:]
    cells = list(product(*map(range, window)))
    centred = np.empty_like(weight)
    for f in range(filters):
        for cell in cells:
            mean = sum(weight[(f, c, *cell)] for c in range(channels)) / channels
            for c in range(channels):
                centred[(f, c, *cell)] = min(1.0, max(-1.0, weight[(f, c, *cell)] - mean))
    reach = [dilation * (k - 1) + 1 for k in window]
    outputs = [(n + 2 * padding - r) // stride + 1 for n, r in zip(size, reach, strict=True)]
    result = np.zeros((filters, *outputs))
    for at in product(*map(range, outputs)):
        products, magnitude = np.zeros(filters), 0.0
        for cell in cells:
            where = [o * stride - padding + dilation * k for o, k in zip(at, cell, strict=True)]
            if not all(0 <= w < n for w, n in zip(where, size, strict=True)):
                continue
            for c in range(channels):
                value = float(image[(c, *where)])
                magnitude += abs(value)
                for f in range(filters):
                    products[f] += sgn(value) * sgn(float(centred[(f, c, *cell)]))
        K = magnitude / channels / len(cells)
        for f in range(filters):
            alpha = float(np.mean([abs(v) for v in centred[f].ravel()]))
            result[(f, *at)] = products[f] * K * alpha
    return result


CASES: list[tuple[type[Any], dict[str, Any], tuple[int, ...]]] = [
    (nn.Conv1d, {"kernel_size": 5, "stride": 2, "padding": 2}, (11,)),
    (nn.Conv1d, {"kernel_size": 3, "dilation": 2}, (9,)),
    (nn.Conv2d, {"kernel_size": 3, "padding": 1}, (5, 4)),
    (nn.Conv2d, {"kernel_size": 3, "stride": 2, "padding": 1}, (6, 5)),
    (nn.Conv2d, {"kernel_size": 1, "stride": 2}, (4, 4)),
    (nn.Conv2d, {"kernel_size": 3, "padding": 2, "dilation": 2}, (6, 5)),
    (nn.Conv3d, {"kernel_size": 2, "stride": 2, "padding": 1}, (3, 4, 3)),
]
LAST = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d}


def binary(real: nn.Module, **options: Any) -> Any:
    kinds = {nn.Conv1d: XnorConv1d, nn.Conv2d: XnorConv2d, nn.Conv3d: XnorConv3d}
    kinds |= {nn.Linear: XnorLinear}
    return kinds[getattr(real, "dense_type", type(real))].from_layer(real, **options)


def example(size: tuple[int, ...], channels: int = 3, batch: int = 2) -> Tensor:
    x = torch.randn(batch, channels, *size)
    x.view(-1)[::7] = 0.0  # sgn(0) = 1
    return x


@pytest.mark.parametrize("kind, geometry, size", CASES)
def test_equals_eq_5_in_loops(kind: type[Any], geometry: dict[str, Any], size: Any) -> None:
    torch.manual_seed(0)
    real = kind(3, 4, bias=False, **geometry)
    nn.init.normal_(real.weight, 0.3, 0.9)  # beyond 1 and off centre
    layer, x = binary(real), example(size)
    numbers = [geometry.get(k, d) for k, d in (("stride", 1), ("padding", 0), ("dilation", 1))]
    weight = real.weight.detach().double().numpy()
    expected = np.stack([eq5(image, weight, *numbers) for image in x.double().numpy()])
    torch.testing.assert_close(layer(x).double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer(x[0]), layer(x)[0])


def test_a_bias_is_added_behind_the_scales() -> None:
    real, x = nn.Conv2d(3, 4, 3, padding=1), example((5, 5))
    assert real.bias is not None
    y = binary(real)(x)
    bias, real.bias = real.bias, None
    torch.testing.assert_close(y, binary(real)(x) + bias.view(-1, 1, 1))


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_are_layers_of_their_own(groups: int) -> None:
    real, x = nn.Conv2d(4, 8, 3, groups=groups, bias=False), example((6, 5), 4)
    parts = []
    for weight, part in zip(real.weight.chunk(groups), x.chunk(groups, 1), strict=True):
        one = nn.Conv2d(4 // groups, 8 // groups, 3, bias=False)
        one.weight = nn.Parameter(weight.detach().clone())
        parts.append(binary(one)(part))
    torch.testing.assert_close(binary(real)(x), torch.cat(parts, 1))


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 5, 6)])
def test_a_linear_layer_is_a_convolution_with_a_window_of_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    real, x = nn.Linear(6, 4, bias=False), torch.randn(shape)
    y = binary(real)(x)
    assert y.shape == (*shape[:-1], 4)
    for row, out in zip(x.reshape(-1, 6), y.reshape(-1, 4), strict=True):
        weight = real.weight.detach().double()[..., None].numpy()
        expected = eq5(row.double()[:, None].numpy(), weight, 1, 0)[:, 0]
        torch.testing.assert_close(out.double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


# --- integers and bits ------------------------------------------------------------------------


def popcount(image: Array, weight: Array, stride: int, padding: int) -> Array:
    """The sign-sign convolution as 2 popcount(xnor) - bits, on bytes of packed sign bits."""
    filters, _, *window = weight.shape
    size = image.shape[1:]
    outputs = [(n + 2 * padding - k) // stride + 1 for n, k in zip(size, window, strict=True)]
    result = np.zeros((filters, *outputs))
    for at in product(*map(range, outputs)):
        pairs: list[tuple[Array, Array]] = []  # over channels: image bits [C], weight bits [F, C]
        for cell in product(*map(range, window)):
            where = [o * stride - padding + k for o, k in zip(at, cell, strict=True)]
            if all(0 <= w < n for w, n in zip(where, size, strict=True)):
                pairs.append((image[(slice(None), *where)], weight[(..., *cell)]))
        x = np.packbits(np.concatenate([i for i, _ in pairs]) >= 0)
        bits = sum(len(i) for i, _ in pairs)
        for f in range(filters):
            w = np.packbits(np.concatenate([each[f] for _, each in pairs]) >= 0)
            same = int.from_bytes(np.bitwise_not(x ^ w).tobytes(), "big") >> (8 * len(x) - bits)
            result[(f, *at)] = 2 * same.bit_count() - bits
    return result


@pytest.mark.parametrize("kind, geometry, size", [c for c in CASES if "dilation" not in c[1]])
def test_without_scales_it_counts_equal_bits(
    kind: type[Any], geometry: dict[str, Any], size: Any
) -> None:
    torch.manual_seed(0)
    layer, x = binary(kind(3, 4, bias=False, **geometry), K=False, alpha=False), example(size)
    y = layer(x)
    assert torch.equal(y, y.round())
    ones = kind(3, 1, bias=False, **geometry)
    nn.init.ones_(ones.weight)
    terms = ones(torch.ones(1, 3, *size))  # fewer where the window meets the padding
    assert torch.equal(y.remainder(2), terms.remainder(2).expand_as(y))
    assert (y.abs() <= terms).all()
    weight = latent(layer.weight.detach(), len(size)).numpy()
    numbers = [geometry.get(k, d) for k, d in (("stride", 1), ("padding", 0))]
    expected = np.stack([popcount(image, weight, *numbers) for image in x.numpy()])
    assert np.array_equal(y.detach().numpy(), expected)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**31))
@settings(max_examples=20)
def test_a_binary_weight_has_one_magnitude_a_filter(c: int, f: int, k: int, seed: int) -> None:
    torch.manual_seed(seed)
    kernel = binary(nn.Conv2d(c, f, k)).kernel()
    assert kernel.shape == (f, c, k, k)
    for each in kernel:
        assert len(each.abs().unique()) == 1


def test_latent_weights_are_centred_and_clipped() -> None:
    w = torch.randn(5, 4, 3) * 0.1 + 0.5
    torch.testing.assert_close(latent(w, 1).mean(1), torch.zeros(5, 3), atol=1e-6, rtol=0)
    assert latent(100 * w, 1).abs().max() == 1
    alone = torch.randn(5, 1, 3)
    assert torch.equal(latent(alone, 1), alone.clamp(-1, 1))


# --- gradients ----------------------------------------------------------------------------------

SLOPES = {
    "identity": lambda x: (x.abs() < 1).double(),
    "tanh": lambda x: torch.cosh(x) ** -2,
    "tanh075": lambda x: 0.75 * torch.cosh(0.75 * x) ** -2,
}
EDGES = torch.tensor([-1.5, -1.0, -0.99, -0.0, 0.0, 0.3, 1.0, 2.0], dtype=torch.float64)


def test_the_sign_of_zero_is_one() -> None:
    assert signs_of(EDGES).tolist() == [-1, -1, -1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("name", SIGN_GRADIENTS)
def test_a_surrogate_is_the_derivative_of_its_function(name: str) -> None:
    g = torch.randn(8, dtype=torch.float64)
    with sign_gradient(name):
        slope = derivative()
    torch.testing.assert_close(slope(g.clone(), EDGES), g * SLOPES[name](EDGES))


@pytest.mark.parametrize("name", ["tanh", "tanh075"])
def test_a_surrogate_does_not_vanish_in_bfloat16(name: str) -> None:
    x = torch.tensor([0.5, 2.0, 3.0, 4.0, 6.0])
    with sign_gradient(name):
        found = derivative()(torch.ones(5).bfloat16(), x.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), SLOPES[name](x.double()), rtol=0.01, atol=0)


def test_a_surrogate_ends_with_its_block() -> None:
    layer = binary(nn.Linear(1, 1, bias=False), K=False, alpha=False).double()
    layer.weight.data.fill_(1.0)

    def slope() -> Tensor:
        x = EDGES[:, None].clone().requires_grad_()
        y = layer(x)
        with sign_gradient("identity"):  # what counts is the forward's
            return torch.autograd.grad(y.sum(), x)[0][:, 0]

    with sign_gradient("tanh"):
        with sign_gradient("tanh075"):
            torch.testing.assert_close(slope(), SLOPES["tanh075"](EDGES))
        torch.testing.assert_close(slope(), SLOPES["tanh"](EDGES))
    assert torch.equal(slope(), SLOPES["identity"](EDGES))


def test_an_unknown_surrogate() -> None:
    with (
        pytest.raises(UsageError, match="must be one of identity, tanh, tanh075, got 'relu'"),
        sign_gradient("relu"),
    ):
        pass


@pytest.mark.parametrize("name", SIGN_GRADIENTS)
@pytest.mark.parametrize("groups", [1, 2])
def test_the_gradient_is_the_chain_rule_with_the_slope_for_sgn_s(name: str, groups: int) -> None:
    torch.manual_seed(0)
    layer = binary(nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=groups)).double()
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64).requires_grad_()
    with sign_gradient(name):
        y = layer(x)
    g = torch.randn_like(y)
    (got,) = torch.autograd.grad(y, x, g)

    mask = SLOPES[name](x.detach())  # sgn(x) + slope * (x - x0): the same value, this slope
    signs = torch.where(x.detach() >= 0, 1.0, -1.0).double() + mask * (x - x.detach())
    product = F.conv2d(signs, layer.kernel().detach(), None, 2, 1, 1, groups)
    mean = x.abs().unflatten(1, (groups, -1)).mean(2)
    K = F.avg_pool2d(mean, 3, 2, 1).repeat_interleave(6 // groups, 1)
    (expected,) = torch.autograd.grad(product * K + layer.bias.view(-1, 1, 1), x, g)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("last", [False, True])  # channels
@pytest.mark.parametrize("channels", [3, 16])  # rows of so few bytes that K is spread, and more
@pytest.mark.parametrize("kind, geometry, size", CASES)
def test_outputs_and_gradients_in_every_geometry(
    kind: type[Any], geometry: dict[str, Any], size: Any, channels: int, last: bool
) -> None:
    """Beside convolutions of signs and of K's box that autograd takes the derivatives of."""
    torch.manual_seed(0)
    real = kind(channels, 4, **geometry).double()
    nn.init.normal_(real.weight, 0.1, 0.5)
    layer = binary(real)
    x = example(size, channels).double()
    x = x.contiguous(memory_format=LAST[len(size)]) if last else x
    seen, known = (x.clone().requires_grad_() for _ in range(2))
    y = layer(seen)

    w = real.weight - real.weight.mean(1, keepdim=True)
    w = w.clamp(-1, 1)
    alpha = w.abs().flatten(1).mean(1).view(-1, *[1] * (w.ndim - 1))
    straight = torch.where(w.detach() >= 0, 1.0, -1.0) + (w - w.detach()) * (w.abs() < 1)
    signs = torch.where(x >= 0, 1.0, -1.0) + (known - x) * (x.abs() < 1)
    options = {k: v for k, v in geometry.items() if k != "kernel_size"}
    convolve = (F.conv1d, F.conv2d, F.conv3d)[len(size) - 1]
    box = torch.full((1, 1, *w.shape[2:]), 1 / w[0, 0].numel(), dtype=torch.double)
    K = convolve(known.abs().mean(1, keepdim=True), box, **options)
    expected = convolve(signs, alpha * straight, **options) * K
    expected = expected + real.bias.view(-1, *[1] * len(size))
    torch.testing.assert_close(y, expected)
    g = torch.randn_like(y)
    ours = torch.autograd.grad((y * g).sum(), [seen, layer.weight, layer.bias])
    theirs = torch.autograd.grad((expected * g).sum(), [known, real.weight, real.bias])
    zero = x == 0  # |0| has the derivative 1 here, 0 there
    for mine, reference in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(mine, reference)
    torch.testing.assert_close(ours[0][~zero], theirs[0][~zero])


@pytest.mark.parametrize("autocast", [False, True])
def test_a_surrogate_changes_the_gradient_alone(autocast: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(binary(nn.Conv2d(3, 4, 3)), nn.BatchNorm2d(4), binary(nn.Conv2d(4, 5, 1)))
    x = example((6, 6)).requires_grad_()
    outputs, gradients = [], []
    for name in SIGN_GRADIENTS:
        with sign_gradient(name), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = layer.eval()(x)
        outputs.append(y)
        gradients.append(torch.autograd.grad(y.float().square().sum(), x)[0])
    assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])
    differ = [not torch.allclose(gradients[i], gradients[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert all(differ)


@pytest.mark.parametrize("name", SIGN_GRADIENTS)
@pytest.mark.parametrize("alpha", [True, False])
def test_the_weight_s_gradient(name: str, alpha: bool) -> None:
    """By hand, some latent weights beyond 1; a surrogate is none of its business."""
    torch.manual_seed(0)
    layer = binary(nn.Conv1d(3, 2, 3, bias=False), alpha=alpha).double()
    nn.init.normal_(layer.weight, 0.2, 0.8)
    x = torch.randn(2, 3, 7, dtype=torch.float64)
    with sign_gradient(name):
        y = layer(x)
    g = torch.randn_like(y)
    (got,) = torch.autograd.grad(y, layer.weight, g)
    w = (layer.weight - layer.weight.mean(1, keepdim=True)).clamp(-1, 1)
    w0 = w.detach()
    signs = torch.where(w0 >= 0, 1.0, -1.0).double() + (w - w0)
    kernel = signs * w.abs().mean((1, 2), keepdim=True) if alpha else signs
    K = F.avg_pool1d(x.abs().mean(1, keepdim=True), 3, 1)
    y = F.conv1d(torch.where(x >= 0, 1.0, -1.0).double(), kernel) * K
    torch.testing.assert_close(got, torch.autograd.grad(y, layer.weight, g)[0])
    assert (w0.abs() == 1).any()


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_by_name(padding: str) -> None:
    real = nn.Conv2d(3, 4, 3, padding=padding)
    twin = nn.Conv2d(3, 4, 3, padding=1 if padding == "same" else 0)
    twin.load_state_dict(real.state_dict())
    x = example((5, 5))
    assert torch.equal(binary(real)(x), binary(twin)(x))
    with pytest.raises(UsageError, match="padding='same' with an even window pads unevenly"):
        binary(nn.Conv2d(3, 4, 2, padding="same"))


# --- tensorized ---------------------------------------------------------------------------------

TENSORIZED = [
    (nn.Conv1d(4, 6, 3, padding=1), TuckerConv1d.from_conv, (4, 9)),
    (nn.Conv2d(4, 6, 3, stride=2), TuckerConv2d.from_conv, (4, 7, 7)),
    (nn.Linear(4, 6), TuckerLinear.from_linear, (4,)),
]


@pytest.mark.parametrize("dense, tensorized, shape", TENSORIZED)
def test_a_tensorized_layer_is_sketched_then_binary(
    dense: nn.Module, tensorized: Any, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    real = tensorized(dense, 0.6, init="random").eval()
    layer, x = binary(real), torch.randn(5, *shape)
    with sketching.disabled(layer):
        torch.testing.assert_close(layer(x), binary(copy.deepcopy(dense))(x))
    with sketching.record(layer) as ledger:
        y = layer(x)
    (masks,) = ledger.draws["weight"]
    drawn = copy.deepcopy(dense)
    drawn.weight = nn.Parameter(real.weight.kernel(masks).detach())
    torch.testing.assert_close(y, binary(drawn)(x))
    with sketching.per_sample(layer), sketching.record(layer) as ledger:
        y = layer(x)
    (masks,) = ledger.draws["weight"]
    for i, kernel in enumerate(real.weight.kernel(masks)):
        drawn.weight = nn.Parameter(kernel.detach())
        torch.testing.assert_close(y[i], binary(drawn)(x[i]))


def test_parameters_and_their_names_are_the_real_layer_s() -> None:
    dense = nn.Conv2d(4, 6, 3)
    tucker = TuckerConv2d.from_conv(dense, 0.9)
    for real in (dense, tucker):
        layer = binary(real)
        assert list(layer.state_dict()) == list(real.state_dict())
        assert all(a is b for a, b in zip(layer.parameters(), real.parameters(), strict=True))
    assert list(sketching.sketches(binary(tucker))) == ["weight"]


def test_other_padding_is_refused() -> None:
    with pytest.raises(UsageError, match="pads with zeros, got padding_mode='reflect'"):
        binary(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"))

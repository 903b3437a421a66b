"""Normalisation by fixed statistics: values and gradients of nn.functional.batch_norm."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad

from defensive_tensorization.models import fixed_norm
from defensive_tensorization.models.fixed_norm import Statistics, normalise

EPS = 1e-3
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def numbers(*shape: int, seed: int = 0) -> Tensor:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=made, dtype=torch.float64)


def statistics(parts: int, channels: int) -> list[Statistics]:
    return [
        (numbers(channels, seed=2 * i), numbers(channels, seed=2 * i + 1).square())
        for i in range(parts)
    ]


def by_torch(
    x: Tensor, found: list[Statistics], weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """Part by part."""
    parts = zip(x.chunk(len(found)), found, strict=True)
    return torch.cat([F.batch_norm(p, m, v, weight, bias, eps=EPS) for p, (m, v) in parts])


def gradients(y: Tensor, of: list[Tensor]) -> list[Tensor]:
    return [y.detach(), *torch.autograd.grad((y * numbers(*y.shape, seed=9).to(y.dtype)).sum(), of)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("affine", ["fixed", "none", "trained"])
@pytest.mark.parametrize("parts", [1, 3])
def test_values_and_gradients_are_torch_s(parts: int, affine: str, layout: str) -> None:
    weight, bias = (None, None) if affine == "none" else (numbers(5, seed=50), numbers(5, seed=51))
    x = numbers(6, 5, 4, 3, seed=7).contiguous(memory_format=LAYOUTS[layout]).requires_grad_()
    wanted = [x]
    if affine == "trained":
        assert weight is not None and bias is not None
        wanted += [weight.requires_grad_(), bias.requires_grad_()]
    found = statistics(parts, 5)
    y = normalise(x, found, weight, bias, EPS)
    assert y.is_contiguous(memory_format=LAYOUTS[layout])
    expected = gradients(by_torch(x, found, weight, bias), wanted)
    for mine, reference in zip(gradients(y, wanted), expected, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 20),
    st.lists(st.integers(1, 4), max_size=3),
)
def test_of_any_shape(parts: int, each: int, channels: int, spatial: list[int]) -> None:
    x = numbers(parts * each, channels, *spatial)
    found, weight, bias = statistics(parts, channels), numbers(channels), numbers(channels, seed=1)
    expected = by_torch(x, found, weight, bias)
    torch.testing.assert_close(normalise(x, found, weight, bias, EPS), expected)


def test_bfloat16_is_torch_s() -> None:
    x = numbers(6, 16, 8, 8).bfloat16().contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    found = [(m.float(), v.float()) for m, v in statistics(3, 16)]
    weight, bias = numbers(16).float(), numbers(16, seed=1).float()
    mine = gradients(normalise(x, found, weight, bias, EPS), [x])
    for one, other in zip(mine, gradients(by_torch(x, found, weight, bias), [x]), strict=True):
        assert one.dtype == torch.bfloat16
        torch.testing.assert_close(one, other, rtol=0.01, atol=0.01)


def test_of_tensors_that_lie_otherwise() -> None:
    """An input that is a part of another, and a gradient that is one number, spread out."""
    found, weight = statistics(2, 5), numbers(5, seed=50)
    whole = numbers(4, 10, 3, 3).requires_grad_()
    for x in (whole[:, ::2], whole[:, :5]):
        mine, reference = (
            torch.autograd.grad(f.sum(), whole)[0]
            for f in (normalise(x, found, weight, None, EPS), by_torch(x, found, weight, None))
        )
        torch.testing.assert_close(mine, reference)
    x = numbers(4, 5, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    (mine,) = torch.autograd.grad(normalise(x, found, weight, None, EPS).sum(), x)
    (reference,) = torch.autograd.grad(by_torch(x, found, weight, None).sum(), x)
    torch.testing.assert_close(mine, reference)


def test_derivatives_of_derivatives() -> None:
    found, weight, bias = statistics(2, 3), numbers(3), numbers(3, seed=1)
    x = numbers(4, 3, 2, 2).requires_grad_()

    def f(t: Tensor) -> Tensor:
        return normalise(t, found, weight, bias, EPS).tanh()

    assert torch.autograd.gradcheck(f, (x,))
    assert torch.autograd.gradgradcheck(f, (x,))


@pytest.mark.parametrize("parts", [1, 2])
def test_forward_mode_and_torch_func(parts: int) -> None:
    found, weight, bias = statistics(parts, 3), numbers(3), numbers(3, seed=1)
    x, v = numbers(4, 3, 2, 2), numbers(4, 3, 2, 2, seed=2)

    def f(t: Tensor) -> Tensor:
        return normalise(t, found, weight, bias, EPS)

    expected = torch.autograd.functional.jvp(lambda t: by_torch(t, found, weight, bias), x, v)[1]
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(f(forward_ad.make_dual(x, v))).tangent
    torch.testing.assert_close(tangent, expected)
    torch.testing.assert_close(torch.func.jvp(f, (x,), (v,))[1], expected)
    of_sum: Callable[[Tensor], Tensor] = torch.func.grad(lambda t: f(t).square().sum())
    leaf = x.clone().requires_grad_()
    (reference,) = torch.autograd.grad(by_torch(leaf, found, weight, bias).square().sum(), leaf)
    torch.testing.assert_close(of_sum(x), reference)


def test_the_short_way_is_taken_where_only_the_input_wants_a_gradient() -> None:
    x, weight = numbers(4, 3, 2, 2).requires_grad_(), numbers(3)
    assert (
        type(normalise(x, statistics(1, 3), weight, None, EPS).grad_fn).__name__ == "_FixedBackward"
    )
    weight.requires_grad_()
    made = normalise(x, statistics(1, 3), weight, None, EPS)
    assert type(made.grad_fn).__name__ == "NativeBatchNormBackward0"
    assert fixed_norm._fast(x, None, None)

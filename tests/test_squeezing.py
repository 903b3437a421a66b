"""Feature squeezing against scipy and numpy, and its gradients by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import median_filter
from torch import nn

from defensive_tensorization.defences.squeezing import FeatureSqueezing, upper_median
from defensive_tensorization.defences.straight import rounded
from defensive_tensorization.errors import UsageError

PIXELS = arrays(
    np.uint8, st.tuples(st.integers(1, 2), st.just(3), st.integers(1, 6), st.integers(1, 6))
)


@given(PIXELS)
def test_the_median_is_scipy_s_on_integers(pixels: np.ndarray) -> None:
    expected = median_filter(pixels, size=(1, 1, 2, 2), mode="reflect")
    found = upper_median(torch.tensor(pixels).float())
    np.testing.assert_array_equal(found.numpy(), expected)


def test_the_upper_median_and_its_padding_by_hand() -> None:
    image = torch.tensor([[[[1.0, 4.0], [3.0, 2.0]]]])
    # windows 1111, 1144, 1133 and 1234: the third of the sorted four
    assert upper_median(image).tolist() == [[[[1.0, 4.0], [3.0, 3.0]]]]


@given(PIXELS, st.integers(1, 8), st.booleans())
def test_squeezing_is_numpy_and_scipy(pixels: np.ndarray, bits: int, median: bool) -> None:
    levels = 2**bits - 1
    x = pixels.astype(np.float32) / np.float32(255)
    expected = np.round(x * np.float32(levels)).astype(int)
    if median:
        expected = median_filter(expected, size=(1, 1, 2, 2), mode="reflect")
    squeezed = FeatureSqueezing(bits=bits, median=median)(torch.tensor(x))
    np.testing.assert_array_equal((squeezed * levels).round().int().numpy(), expected)
    np.testing.assert_allclose(squeezed.numpy(), expected / levels, atol=1e-7)
    assert len(squeezed.unique()) <= 2**bits


def test_five_bits_and_a_median_are_the_default() -> None:
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = upper_median((31 * x).round() / 31)
    assert torch.equal(FeatureSqueezing()(x), expected)


def test_the_value_is_the_same_with_a_gradient_and_without() -> None:
    x = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    followed = rounded(x.clone().requires_grad_(), 31)
    assert torch.equal(followed.detach(), rounded(x, 31))


def test_rounding_passes_the_gradient_on() -> None:
    x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((FeatureSqueezing(median=False)(x) * weight).sum(), x)
    assert torch.equal(gradient, weight)


def test_the_median_s_gradient_goes_to_the_pixel_it_picks() -> None:
    x = torch.tensor([[[[1.0, 4.0], [3.0, 2.0]]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(upper_median(x)[0, 0, 1, 1], x)
    assert gradient.tolist() == [[[[0.0, 0.0], [1.0, 0.0]]]]
    # every window gives away a gradient of one, ties or none
    tied = torch.zeros(1, 1, 3, 3, requires_grad=True)
    (shared,) = torch.autograd.grad(upper_median(tied).sum(), tied)
    assert float(shared.sum()) == 9


def test_it_has_no_weights_and_keeps_the_layout() -> None:
    squeeze: nn.Module = FeatureSqueezing()
    assert not squeeze.state_dict()
    x = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert squeeze(x).shape == x.shape


@pytest.mark.parametrize("bits", [0, 9])
def test_bits_of_a_colour_that_cannot_be_are_refused(bits: int) -> None:
    with pytest.raises(UsageError) as caught:
        FeatureSqueezing(bits=bits)
    assert str(caught.value) == f"squeezing leaves 1 to 8 bits of a colour, got bits={bits}"

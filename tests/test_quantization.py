"""Quantized activations against numpy, the orthogonality term against singular values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from defensive_tensorization.defences.quantization import QuantizedReLU, orthogonality
from defensive_tensorization.errors import UsageError


@given(st.integers(1, 8), st.floats(0.5, 20))
def test_as_many_values_as_the_bits_allow(bits: int, clip: float) -> None:
    x = torch.linspace(-clip, 2 * clip, 5000)
    values = QuantizedReLU(bits=bits, clip=clip)(x)
    grid = np.linspace(0, clip, 2**bits)
    np.testing.assert_allclose(values.unique().numpy(), grid, rtol=1e-5, atol=1e-6)
    nearest = np.abs(x.clamp(0, clip).numpy()[:, None] - grid).min(1)
    error = np.abs(values.numpy() - x.clamp(0, clip).numpy())
    np.testing.assert_allclose(error, nearest, atol=1e-5 * clip)


def test_four_bits_and_relu6_are_the_default() -> None:
    x = torch.linspace(-3, 9, 4001)
    values = QuantizedReLU()(x)
    assert len(values.unique()) == 16
    assert (float(values.min()), float(values.max())) == (0, 6)
    assert float((values - nn.functional.relu6(x)).abs().max()) <= 6 / 15 / 2 + 1e-6


def test_in_bfloat16_too() -> None:
    x = torch.linspace(-3, 9, 4001)
    with torch.autocast("cpu", torch.bfloat16):
        values = QuantizedReLU()(x.bfloat16())
    assert values.dtype == torch.bfloat16
    assert len(values.unique()) == 16


def test_the_gradient_is_that_of_the_clipping() -> None:
    x = torch.tensor([-1.0, 0.1, 3.3, 5.9, 7.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(QuantizedReLU()(x).sum(), x)
    torch.testing.assert_close(gradient, torch.tensor([0.0, 1, 1, 1, 0]))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(3, 5, 3, bias=False), (5, 27)),
        (nn.Conv2d(3, 8, 1, bias=False), (8, 3)),
        (nn.Conv1d(2, 4, 7), (4, 14)),
        (nn.Linear(6, 3), (3, 6)),
    ],
)
def test_orthogonality_is_of_the_singular_values(layer: nn.Module, shape: tuple[int, int]) -> None:
    assert isinstance(layer.weight, nn.Parameter)
    matrix = layer.weight.detach().double().numpy().reshape(shape)
    s = np.linalg.svd(matrix, compute_uv=False)
    term = float(orthogonality(layer).detach())
    assert term == pytest.approx(((s**2 - 1) ** 2).sum() / 2, rel=1e-4)


def test_all_weights_and_nothing_else() -> None:
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)]
    total = orthogonality(nn.Sequential(*layers))
    parts = [orthogonality(layers[0]), orthogonality(layers[3])]
    torch.testing.assert_close(total, sum(parts))
    grown = nn.Sequential(*layers)
    with torch.no_grad():
        for name, parameter in grown.named_parameters():
            if name.endswith("bias") or name.startswith("1."):
                parameter += 3
    torch.testing.assert_close(orthogonality(grown), total)


def test_descending_it_makes_weights_orthonormal() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 4)
    for _ in range(300):
        (gradient,) = torch.autograd.grad(orthogonality(layer), layer.weight)
        with torch.no_grad():
            layer.weight -= 0.1 * gradient
    torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(4), atol=1e-4, rtol=0)


def test_in_float32_under_autocast() -> None:
    layer = nn.Conv2d(3, 8, 3)
    with torch.autocast("cpu", torch.bfloat16):
        term = orthogonality(layer)
    torch.testing.assert_close(term, orthogonality(layer))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bits": 0}, "an activation has 1 to 16 bits, got bits=0"),
        ({"bits": 17}, "an activation has 1 to 16 bits, got bits=17"),
        ({"clip": 0.0}, "activations are clipped at a positive number, got clip=0.0"),
        ({"clip": float("inf")}, "activations are clipped at a positive number, got clip=inf"),
    ],
)
def test_bits_and_clips_that_cannot_be_are_refused(options: dict[str, float], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        QuantizedReLU(**options)  # type: ignore[arg-type]
    assert str(caught.value) == text

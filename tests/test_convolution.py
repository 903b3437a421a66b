"""Convolutions keep the layout of their input, and their gradients are right on any processor."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from defensive_tensorization.system.convolution import laid_out_as, unit_stride

AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


@pytest.mark.parametrize("shapes", ["few", pytest.param("all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("instructions", [{}, AVX2], ids=["all instructions", "AVX2 alone"])
def test_gradients_equal_those_in_float64(instructions: dict[str, str], shapes: str) -> None:
    script = Path(__file__).with_name("helpers") / "convolution_gradients.py"
    env = os.environ | instructions | {"OMP_NUM_THREADS": "1", "MALLOC_CHECK_": "3"}
    run = subprocess.run(
        [sys.executable, str(script), shapes],
        env=env | {"PYTHONPATH": str(script.parents[2])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.stdout.endswith("right\n"), (run.returncode, run.stdout[-60:], run.stderr[-500:])


@given(
    dimensions=st.integers(1, 3),
    channels=st.integers(1, 9),
    window=st.sampled_from([1, 2, 3]),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    seed=st.integers(0, 99),
)
def test_unit_stride_is_the_same_convolution(
    dimensions: int, channels: int, window: int, stride: int, padding: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    convolution = (F.conv1d, F.conv2d, F.conv3d)[dimensions - 1]
    x = torch.rand(2, channels, *[5] * dimensions, generator=generator, dtype=torch.float64)
    w = torch.rand(3, channels, *[window] * dimensions, generator=generator, dtype=torch.float64)
    strides, paddings = (stride,) * dimensions, (padding,) * dimensions
    safe, step = unit_stride(x, w, strides, paddings, 1)
    torch.testing.assert_close(
        convolution(safe, w, None, step, paddings), convolution(x, w, None, strides, paddings)
    )
    moved = window == 1 and stride > 1 and channels <= 7 and not padding
    assert (step == (1,) * dimensions) == (moved or stride == 1)


@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (8, 4, 1, 1), (8, 1, 3, 3), (8, 4, 3, 3, 3)])
@pytest.mark.parametrize("last", [False, True])
def test_a_kernel_takes_the_layout_of_the_input(shape: tuple[int, ...], last: bool) -> None:
    """The output's strides are those that a contiguous kernel gives."""
    kernel = torch.rand(shape[0], *shape[2:], shape[1]).movedim(-1, 1)  # channels innermost
    x = torch.rand(2, shape[1], *[6] * (len(shape) - 2))
    if last:
        form = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
        x = torch.empty_like(x, memory_format=form).copy_(x)
    convolution = F.conv2d if len(shape) == 4 else F.conv3d
    dense = torch.empty(shape).copy_(kernel)
    got, want = convolution(x, laid_out_as(kernel, x)), convolution(x, dense)
    assert got.stride() == want.stride()
    torch.testing.assert_close(got, want)

"""Convolutions that keep the layout of their input and avoid a kernel that corrupts memory.

torch computes a convolution in channels_last as soon as the input or the kernel lies so in memory.
On processors with AVX2 alone, oneDNN's backward of a 1x1 convolution in that layout with a stride
above 1 and at most 7 input channels writes past its workspace (uxlfoundation/oneDNN issue 6035).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

FEW = 7  # input channels, at most, of which the gradient is wrong


def laid_out_as(kernel: Tensor, x: Tensor) -> Tensor:
    """Return the kernel [F, C, k...] in the memory layout of the input x [B, C, ...].

    A kernel in channels_last would make the output channels_last although the input is not.
    """
    if _channels_innermost(x) or not _channels_innermost(kernel):
        return kernel
    return kernel.clone(memory_format=torch.contiguous_format)  # .contiguous() keeps 1x1 strides


def unit_stride(
    x: Tensor, kernel: Tensor, stride: Sequence[int], padding: str | Sequence[int], groups: int
) -> tuple[Tensor, Sequence[int]]:
    """Return input and stride of an equal convolution that is safe on every processor.

    A 1x1 convolution reads only every `stride`-th position. Where oneDNN computes its gradient
    wrongly, those positions are taken first, and the convolution moves by 1.

    Args:
        x: input [B, C, ...]; kernel: [F, C / groups, k...].
    """
    few = groups == 1 and kernel.shape[1] <= FEW and x.device.type == "cpu"
    if not few or max(stride) == 1 or kernel[0, 0].numel() > 1 or _pads(padding):
        return x, stride
    every: Any = (..., *[slice(None, None, step) for step in stride])
    return x[every], (1,) * len(stride)


def _channels_innermost(t: Tensor) -> bool:
    """Tell whether torch takes t [n, C, ...] for channels_last, which it decides by strides."""
    return t.stride(1) == 1 and t.stride(-1) >= t.shape[1]


def _pads(padding: str | Sequence[int]) -> bool:
    """Whether anything is added around the input; of "same" a 1x1 convolution adds nothing."""
    return not isinstance(padding, str) and any(padding)

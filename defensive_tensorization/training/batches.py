"""The batches of an epoch: which examples, in what order, flipped and cropped how."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import Split, decode
from ..system.transfer import onto
from .schedule import Schedule


def batches(
    split: Split, flip: bool, schedule: Schedule, order: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches of decoded examples in a random order; flips and crops are drawn per image."""
    n, size = len(split), min(schedule.batch_size, len(split))
    device = split.inputs.device
    shuffled = onto(torch.randperm(n, generator=order), device)
    for start in range(0, n - size + 1, size):
        index = shuffled[start : start + size]
        x = decode(split.inputs[index])
        if flip:
            mirrored = onto(torch.rand(size, 1, 1, 1, generator=order) < 0.5, device)
            x = torch.where(mirrored, x.flip(-1), x)
        if schedule.crop:
            x = _crop(x, schedule.crop, order)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        yield x, split.labels[index]


def _crop(x: Tensor, padding: int, order: torch.Generator) -> Tensor:
    """A window of the original size from each zero-padded image, at an offset of its own."""
    b, _, h, w = x.shape
    padded = F.pad(x, (padding,) * 4)
    offsets = onto(torch.randint(2 * padding + 1, (2, b, 1), generator=order), x.device)
    rows = offsets[0] + torch.arange(h, device=x.device)  # [B, H]
    columns = offsets[1] + torch.arange(w, device=x.device)
    image = torch.arange(b, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )

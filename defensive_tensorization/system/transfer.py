"""From the host to the device, without waiting for it."""

import torch
from torch import Tensor


def onto(made: Tensor, device: torch.device) -> Tensor:
    """What the host drew, on the device; a GPU gets it behind its queue, and nobody waits."""
    if device.type != "cuda":
        return made.to(device)
    return made.pin_memory().to(device, non_blocking=True)

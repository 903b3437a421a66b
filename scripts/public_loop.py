"""The loop that most public repositories train CIFAR-10 with, to be measured beside ours.

torchvision's transforms on PIL images in DataLoader workers, float32, SGD, the loss and the hits
read at every step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from defensive_tensorization.data import Split

CROP_AND_FLIP = (transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip())


class Pictures(Dataset[tuple[Tensor, int]]):
    """As torchvision.datasets.CIFAR10 hands them out."""

    def __init__(self, split: Split, transform: Callable[[Any], Tensor]) -> None:
        self.data = split.inputs.permute(0, 2, 3, 1).cpu().numpy()
        self.targets = split.labels.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


def public_loop(
    network: nn.Module,
    split: Split,
    augment: Sequence[Any],
    mean: Sequence[float],
    std: Sequence[float],
    *,
    batch: int,
    lr: Callable[[int], float] = lambda epoch: 0.1,
    workers: int = 2,
) -> Callable[[], None]:
    """One epoch a call; the network must leave the normalisation to the transforms."""
    device = next(network.parameters()).device
    steps = [*augment, transforms.ToTensor(), transforms.Normalize(mean, std)]
    loader = DataLoader(
        Pictures(split, transforms.Compose(steps)),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=lr(0), momentum=0.9, weight_decay=5e-4)
    done = 0

    def epoch() -> None:
        nonlocal done
        for group in optimizer.param_groups:
            group["lr"] = lr(done)
        network.train()
        loss_sum, hits = 0.0, 0
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            logits = network(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
            hits += int(logits.argmax(1).eq(y).sum().item())
        done += 1

    return epoch

"""From a name to a network: fetched, checked, built, filled."""

from __future__ import annotations

import os
from typing import cast

import torch
from torch import Tensor, nn

from ..data import decode
from ..errors import UsageError
from ..models.logmel import RATE
from . import source, tensor_file
from .architecture import built, deployed
from .manifest import Entry, Manifest


class ReleasedNetwork(nn.Module):
    """[B, ...] within `card.bounds` to logits [B, classes]; evaluation mode, float32.

    Raises UsageError for inputs of another shape, or of whole numbers.

    Attributes:
        network: as it is deployed, with whatever its defence puts around it.
        card: what is known of it: data, accuracy, licence, training.
    """

    def __init__(self, network: nn.Module, card: Entry) -> None:
        super().__init__()
        self.network = network
        self.card = card
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        _check_inputs(x, self.card)
        if x.ndim == 4:  # as its kernels lie
            x = x.contiguous(memory_format=torch.channels_last)
        return cast(Tensor, self.network(x))


def _check_inputs(x: Tensor, card: Entry) -> None:
    """Refuse what is no batch of the kind, "images" or "clips", that the network was trained on."""
    channels, (low, high) = len(card.architecture.mean), card.bounds
    sound = card.kind == "clips"
    size = (RATE,) if sound else ("H", "W")
    rank = 2 + len(size)
    shape = [*x.shape] if isinstance(x, Tensor) else None
    fits = shape is not None and len(shape) == rank and shape[1] == channels
    if fits and (not sound or x.shape[2] == RATE) and x.is_floating_point():
        return
    found, remedy = type(x).__name__, f"give {card.kind} of this shape"
    if shape is not None:
        found = f"{str(x.dtype).removeprefix('torch.')} {shape}"
        if len(shape) == rank - 1 and shape[0] == channels:
            remedy = "take x[None] for a batch of one"
        elif fits and not x.is_floating_point():
            remedy = f"take {'x.float() / 32768' if sound else 'x.float() / 255'}"
    raise UsageError(
        f"{card.name} takes {card.kind} [B, {channels}, {', '.join(map(str, size))}], floating "
        f"point in [{low:g}, {high:g}], got {found}: {remedy}"
    )


def load(name: str | os.PathLike[str]) -> ReleasedNetwork:
    """Return a released network, its checksum verified; nothing is run from its file.

    Args:
        name: GROUP/NETWORK of the repository's networks, or one behind a folder or a URL, such as
            "https://HOST/networks/cifar10-resnet18-w16/theta-0.9".

    Raises:
        UsageError: for a name that is not there, a file that differs from the manifest's checksum,
            a source that cannot be read.
    """
    if not isinstance(name, str | os.PathLike):
        raise UsageError(
            f"a network's name must be a string, got {name!r}: such as "
            "'cifar10-resnet18-w16/theta-0.9'"
        )
    where, network = source.split(os.fspath(name))
    manifest = Manifest.at(where)
    entry = manifest.entry(network)
    made = built(entry.architecture)
    try:
        made.load_state_dict(weights(manifest, entry))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{where.shown(entry.file)} does not fit the network that the manifest describes "
            f"({reason}): upgrade the package"
        ) from error
    return ReleasedNetwork(deployed(entry.architecture, made, _reference(manifest, entry)), entry)


def weights(manifest: Manifest, entry: Entry) -> dict[str, Tensor]:
    """Return the state dict of a network in float32, its checksum verified."""
    content = manifest.source.verified(entry.file, entry.sha256)
    held = tensor_file.unpacked(content, manifest.source.shown(entry.file))
    return {name: t.float() if t.dtype == torch.bfloat16 else t for name, t in held.items()}


def _reference(manifest: Manifest, entry: Entry) -> Tensor | None:
    """Training examples, decoded, whose statistics BatchNorm takes at every forward."""
    if not entry.architecture.needs_reference:
        return None
    content = manifest.source.verified(entry.reference, entry.reference_sha256)
    found = tensor_file.unpacked(content, manifest.source.shown(entry.reference))
    with torch.no_grad():
        return decode(found["inputs"])

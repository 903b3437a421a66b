"""What a released network is built from: plain values, no names of code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from .. import models
from ..defences import dropout, pruning, quantization, squeezing
from ..errors import UsageError
from ..models.batchnorm import DrawBatchNorm1d, DrawBatchNorm2d, Recalibrated
from ..models.precision import REAL, Order, Place, Precision
from ..tucker import conv_factory
from ..xnor import XnorConv2d, binary_layer

MODELS = ("ConvNet", "LogMel", "ResNet18", "SoundNet5")
_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
_NORMS = {1: DrawBatchNorm1d, 2: DrawBatchNorm2d}

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Architecture:
    """A network and the defence that is deployed with it.

    Attributes:
        model: one of MODELS, of this `width`.
        mean, std: per channel, of decoded inputs; the network normalises by them.
        batchnorm: how BatchNorm is handled where kernels are random (`models.batchnorm`).
        conv: options of `tucker.conv_factory`; None: dense kernels.
        precision: where and how layers are binary; None: none is.
        relu, last, prune, input: options of the defence's other slots; None: empty.
    """

    model: str
    width: int
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    batchnorm: str = "running"
    conv: Options | None = None
    precision: Options | None = None
    relu: Options | None = None
    last: Options | None = None
    prune: Options | None = None
    input: Options | None = None

    @classmethod
    def read(cls, plain: Options) -> Architecture:
        """From a manifest. Raises UsageError for keys that this version does not know."""
        known = {f.name for f in fields(cls)}
        if strange := sorted(plain.keys() - known):
            raise UsageError(
                f"a released network has {strange[0]!r}, which this version does not know: "
                "upgrade the package"
            )
        lists = {name: tuple(plain[name]) for name in ("classes", "mean", "std")}
        return cls(**{**plain, **lists})

    def plain(self) -> dict[str, Any]:
        """For a manifest: what differs from the defaults."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def needs_reference(self) -> bool:
        return self.batchnorm == "recalibrated"


def built(of: Architecture) -> nn.Module:
    """Return the network, whose weights are still to be loaded.

    Raises:
        UsageError: for a model that is not the package's.
    """
    if of.model not in MODELS:
        raise UsageError(f"model {of.model!r} is none of {', '.join(MODELS)}")
    model = getattr(models, of.model)
    d = getattr(model, "dimensions", 2)
    # the basis that is drawn here is overwritten; by hosvd it would be computed
    conv = conv_factory(dimensions=d, **{**of.conv, "init": "random"}) if of.conv else None
    network: nn.Module = model(
        width=of.width,
        classes=len(of.classes),
        mean=of.mean,
        std=of.std,
        conv=conv or _CONVOLUTIONS[d],
        norm=lambda channels: _NORMS[d](channels, of.batchnorm),  # type: ignore[arg-type]
        precision=_precision(of.precision) if of.precision else REAL,
        **({"relu": partial(quantization.QuantizedReLU, **of.relu)} if of.relu else {}),
        **({"last": dropout.last_layer(**of.last)} if of.last else {}),
    )
    return channels_last(network)


def deployed(of: Architecture, network: nn.Module, reference: Tensor | None) -> nn.Module:
    """Return the network as it is evaluated: pruned, recalibrated, behind its input transform."""
    if of.prune:
        network = pruning.pruned(network=network, **of.prune)
    if of.needs_reference:
        assert reference is not None
        network = Recalibrated(network, reference)
    if of.input:
        network = nn.Sequential(squeezing.FeatureSqueezing(**of.input), network)
    return network


def channels_last(network: nn.Module) -> nn.Module:
    """Its 2-D kernels, in place, as convolutions of channels-last images want them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | XnorConv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _precision(options: Options) -> Precision:
    kinds: dict[Place, str] = {"inner": "binary"}
    kinds |= {at: options[at] for at in ("first", "shortcut", "last")}
    return Precision(
        binary=lambda real: binary_layer(real, K=options["K"], alpha=options["alpha"]),
        places=frozenset(at for at, kind in kinds.items() if kind == "binary"),
        order=cast(Order, options["order"]),
    )

"""Architectures that the library was not written for, small, for tests/test_architectures.py."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def first_tensor(output: Any) -> Tensor:
    """All floating-point numbers of an output, as one vector."""
    found: list[Tensor] = []

    def collect(value: Any) -> None:
        if isinstance(value, Tensor):
            if value.is_floating_point():
                found.append(value.flatten())
        elif isinstance(value, dict):
            for each in value.values():
                collect(each)
        elif isinstance(value, list | tuple):
            for each in value:
                collect(each)
        elif hasattr(value, "tensors"):
            collect(value.tensors)

    collect(output)
    return torch.cat(found)


class Parts(nn.Module):
    """A detector up to its heads: what follows sorts boxes, which equals up to rounding or not."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Any:
        features = list(self.detector.backbone(images).values())
        if hasattr(self.detector, "rpn"):
            return self.detector.rpn.head(features)
        return self.detector.head(features)


class Conformer(nn.Module):
    """torchaudio's Conformer over frames of one length."""

    def __init__(self) -> None:
        super().__init__()
        import torchaudio

        self.conformer = torchaudio.models.Conformer(16, 2, 32, 1, 5)

    def forward(self, frames: Tensor) -> Tensor:
        return self.conformer(frames, torch.full((len(frames),), frames.shape[1]))[0]


def _torchvision(name: str, **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision.models as models

        for room in (models, models.segmentation, models.detection, models.video):
            if hasattr(room, name):
                return getattr(room, name)(weights=None, **options)
        return getattr(models.quantization, name)(weights=None, quantize=False, **options)

    return make


def _calibrated(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> Callable[[], nn.Module]:
    """With BatchNorm's statistics from a batch: untrained, these nets forget their input else."""

    def calibrated() -> nn.Module:
        model = make().train()
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        momenta = [m.momentum for m in norms]
        for m in norms:
            m.momentum = 1.0
        with torch.no_grad():
            model(torch.rand(shape))
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
        return model

    return calibrated


def _detector(name: str) -> Callable[[], nn.Module]:
    make = _torchvision(name, weights_backbone=None, num_classes=3)
    return lambda: Parts(make())


def _quantizable(name: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import torchvision.models.quantization as models

        return getattr(models, name)(weights=None, quantize=False, num_classes=5)

    return make


def _timm(name: str, **options: Any) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=5, **options)

    return make


def _standardized() -> nn.Module:
    """BiT: weight standardization and group normalization."""
    from timm.layers import GroupNormAct, StdConv2d
    from timm.models.resnetv2 import ResNetV2

    return ResNetV2(
        layers=(1, 1, 1, 1),
        channels=(128, 128, 128, 128),
        stem_chs=32,
        num_classes=5,
        stem_type="fixed",
        norm_layer=GroupNormAct,
        conv_layer=StdConv2d,
    )


def _wav2vec2() -> nn.Module:
    import torchaudio

    return torchaudio.models.wav2vec2_model(
        "group_norm",
        [(16, 10, 5), (16, 3, 2)],
        False,
        *(32, 0.0, 8, 2, 1, 2, 0.0, 64),
        *(0.0, 0.0, False, 0.0, None),
    )


IMAGE = (2, 3, 64, 64)
SMALL: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "torchvision deeplabv3_mobilenet_v3_large": (
        _calibrated(
            _torchvision("deeplabv3_mobilenet_v3_large", weights_backbone=None, num_classes=5),
            IMAGE,
        ),
        IMAGE,
    ),
    "torchvision lraspp_mobilenet_v3_large": (
        _calibrated(
            _torchvision("lraspp_mobilenet_v3_large", weights_backbone=None, num_classes=5),
            IMAGE,
        ),
        IMAGE,
    ),
    "torchvision fasterrcnn_mobilenet_v3_large_fpn": (
        _detector("fasterrcnn_mobilenet_v3_large_fpn"),
        IMAGE,
    ),
    "torchvision ssdlite320_mobilenet_v3_large": (
        _detector("ssdlite320_mobilenet_v3_large"),
        (2, 3, 320, 320),
    ),
    "torchvision r3d_18": (_torchvision("r3d_18", num_classes=5), (1, 3, 4, 32, 32)),
    "torchvision mc3_18": (_torchvision("mc3_18", num_classes=5), (1, 3, 4, 32, 32)),
    "torchvision quantizable mobilenet_v2": (_quantizable("mobilenet_v2"), IMAGE),
    "torchvision quantizable shufflenet_v2_x0_5": (
        _calibrated(_quantizable("shufflenet_v2_x0_5"), IMAGE),
        IMAGE,
    ),
    "torchvision quantizable googlenet": (_calibrated(_quantizable("googlenet"), IMAGE), IMAGE),
    "torchvision regnet_y_400mf": (_torchvision("regnet_y_400mf", num_classes=5), IMAGE),
    "timm convnext": (_timm("test_convnext"), IMAGE),
    "timm efficientnet": (_timm("test_efficientnet"), IMAGE),
    "timm mobilenetv3, TensorFlow's padding": (_timm("tf_mobilenetv3_small_minimal_100"), IMAGE),
    "timm regnetx_002": (_timm("regnetx_002"), IMAGE),
    "timm swin": (
        _timm(
            "swin_tiny_patch4_window7_224",
            img_size=56,
            embed_dim=24,
            depths=(1, 1),
            num_heads=(2, 4),
        ),
        (2, 3, 56, 56),
    ),
    "timm vit": (
        _timm("vit_tiny_patch16_224", img_size=64, embed_dim=48, depth=2, num_heads=3),
        IMAGE,
    ),
    "timm resnetv2": (
        _timm("resnetv2_50", layers=(1, 1, 1, 1), channels=(32, 48, 64, 96), stem_chs=16),
        IMAGE,
    ),
    "timm resnetv2, weight standardization": (_standardized, IMAGE),
    "timm nfnet": (_timm("test_nfnet"), IMAGE),
    "timm repvgg": (_timm("repvgg_a0"), IMAGE),
    "torchaudio wav2vec2": (_wav2vec2, (2, 1600)),
    "torchaudio conformer": (Conformer, (2, 12, 16)),
}
"""Name: how to make it, and the shape of its input."""

STANDARDIZED = ("timm resnetv2, weight standardization", "timm nfnet")
"""Their convolutions standardize their weights in a forward of their own and stay dense; what else
they have, a linear head or a plain convolution, is replaced."""

"""ResNet-18 against a count by hand and against torchvision's, with the CIFAR stem put in."""

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from defensive_tensorization import sketching
from defensive_tensorization.models import ResNet18
from defensive_tensorization.tucker import TuckerConv2d, conv_factory

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def net(width: int = 8, **options: Any) -> ResNet18:
    return ResNet18(**{"width": width, "classes": 10, "mean": MEAN, "std": STD} | options)


def by_hand(width: int, classes: int) -> int:
    """3x3 stem; four stages of two blocks; a 1x1 shortcut where the width doubles; the head."""
    count = 27 * width + 2 * width
    c_in = width
    for c in (width, 2 * width, 4 * width, 8 * width):
        count += 9 * c_in * c + 3 * 9 * c * c + 4 * 2 * c
        if c != c_in:
            count += c_in * c + 2 * c
        c_in = c
    return count + classes * 8 * width + classes


@pytest.mark.parametrize("width, classes, expected", [(64, 10, 11_173_962), (16, 7, None)])
def test_parameter_count(width: int, classes: int, expected: int | None) -> None:
    count = sum(p.numel() for p in net(width, classes=classes).parameters())
    assert count == (expected or by_hand(width, classes)) == by_hand(width, classes)


def test_shapes() -> None:
    model, x = net(8, classes=7).eval(), torch.rand(2, 3, 32, 32)
    shapes: list[tuple[int, ...]] = []
    for stage in (model.stem, model.stage1, model.stage2, model.stage3, model.stage4):
        stage.register_forward_hook(lambda m, i, out: shapes.append(tuple(out.shape[1:])))
    assert model(x).shape == (2, 7)
    assert shapes == [(8, 32, 32), (8, 32, 32), (16, 16, 16), (32, 8, 8), (64, 4, 4)]


def test_equals_torchvision() -> None:
    ours = net(64)
    theirs = resnet18(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    values = [v for k, v in ours.state_dict().items() if not k.startswith("normalize")]
    names = list(theirs.state_dict())
    theirs.load_state_dict(dict(zip(names, values, strict=True)))
    x = torch.rand(2, 3, 16, 16)
    outside = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(ours.train()(x), theirs.train()(outside), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(outside), atol=1e-4, rtol=1e-4)


def test_normalisation_is_inside() -> None:
    inside, plain = net().eval(), net(mean=(0.0,) * 3, std=(1.0,) * 3).eval()
    plain.load_state_dict(inside.state_dict())  # the constants are no part of the weights
    x = torch.rand(3, 3, 32, 32)
    outside = torch.stack([(x[:, c] - MEAN[c]) / STD[c] for c in range(3)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(inside(x), plain(outside))
        assert not torch.allclose(inside(x), plain(x), atol=1e-3)


def test_every_layer_comes_from_a_factory() -> None:
    norms: list[int] = []

    def norm(channels: int) -> nn.Module:
        norms.append(channels)
        return nn.GroupNorm(1, channels)

    model = net(conv=conv_factory(theta=0.9), norm=norm)
    assert not [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    convs = [m for m in model.modules() if isinstance(m, TuckerConv2d)]
    assert len(convs) == len(norms) == len(sketching.sketches(model)) == 20
    assert norms == [8] * 5 + [16] * 5 + [32] * 5 + [64] * 5
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_one_channel() -> None:
    assert net(mean=(0.5,), std=(0.5,))(torch.rand(2, 1, 32, 32)).shape == (2, 10)

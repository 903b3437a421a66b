"""ResNet-18 against a count by hand and against torchvision's, with the CIFAR stem put in."""

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from defensive_tensorization import sketching
from defensive_tensorization.models import REAL, LogMel, Precision, ResNet18, SoundNet5
from defensive_tensorization.models.batchnorm import DrawBatchNorm2d, Recalibrated
from defensive_tensorization.models.precision import Order, Place
from defensive_tensorization.tucker import TuckerConv2d, conv_factory
from defensive_tensorization.xnor import XnorConv2d, XnorLinear, binary_layer

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
def test_parameters_are_as_many_as_counted_by_hand(
    width: int, classes: int, expected: int | None
) -> None:
    count = sum(p.numel() for p in net(width, classes=classes).parameters())
    assert count == (expected or by_hand(width, classes)) == by_hand(width, classes)


def test_each_stage_halves_the_image_and_doubles_the_channels() -> None:
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


# --- binary networks ------------------------------------------------------------------------------


def binary(*places: Place, order: Order = "norm_sign_conv") -> Precision:
    return Precision(binary_layer, frozenset({"inner", *places}), order)


def names(model: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


def test_a_binary_network_s_first_and_last_layer_are_real() -> None:
    model = net(precision=binary("shortcut"))
    assert len(names(model, XnorConv2d)) == 19
    assert names(model, nn.Conv2d) == ["stem"]
    assert isinstance(model.head, nn.Linear)
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_each_place_can_be_binary_or_real() -> None:
    shortcuts = [f"stage{i}.0.shortcut.1" for i in (2, 3, 4)]
    assert names(net(precision=binary()), nn.Conv2d) == ["stem", *shortcuts]
    model = net(precision=binary("first", "shortcut", "last"))
    assert names(model, nn.Conv2d) == names(model, nn.Linear) == []
    assert isinstance(model.stem, XnorConv2d) and isinstance(model.head, XnorLinear)


@pytest.mark.parametrize("order", ["norm_sign_conv", "sign_conv_norm"])
def test_the_order_of_a_binary_network(order: Order) -> None:
    """Every binary layer's input comes from BatchNorm, or goes to one; no ReLU before the tail."""
    model = net(precision=binary("shortcut", order=order)).eval()
    seen: list[tuple[str, int, int]] = []
    for name, module in model.named_modules():
        if isinstance(module, XnorConv2d | nn.BatchNorm2d | nn.ReLU):
            module.register_forward_hook(
                lambda m, i, out, name=name: seen.append((name, id(i[0]), id(out)))
            )
    outputs: list[Any] = []  # kept, so that no two tensors have one id
    for module in model.modules():
        module.register_forward_hook(lambda m, i, out: outputs.append((i, out)))
    model(torch.rand(2, 3, 32, 32))
    norms = [s for s in seen if "norm" in s[0] or "shortcut" in s[0] or s[0] == "tail.0"]
    for name, taken, given in seen:
        if "conv" in name and order == "norm_sign_conv":
            assert taken in {out for _, _, out in norms}
        if "conv" in name and order == "sign_conv_norm":
            assert given in {taken for _, taken, _ in norms}
    assert [name for name, _, _ in seen if name in names(model, nn.ReLU)] == ["tail.1"]


def test_a_binary_network_composes_with_the_sketch() -> None:
    model = net(conv=conv_factory(theta=0.9, init="random"), precision=binary("shortcut")).eval()
    assert len(sketching.sketches(model)) == 20  # the real stem is sketched too
    assert names(model, TuckerConv2d) == ["stem"]
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(model(x), model(x))
        with sketching.frozen(model, seed=1):
            assert torch.equal(model(x), model(x))


def test_recalibrated_predictions_of_a_binary_network_are_of_one_image() -> None:
    model = Recalibrated(
        net(
            conv=conv_factory(theta=0.9, init="random"),
            norm=lambda channels: DrawBatchNorm2d(channels, "recalibrated"),
            precision=binary("shortcut"),
        ),
        torch.rand(8, 3, 32, 32),
    ).eval()
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad(), sketching.frozen(model, seed=0):
        torch.testing.assert_close(model(x)[:1], model(x[:1]))
        assert not torch.allclose(model(x)[0], model(x)[1])


def test_real_is_the_default() -> None:
    assert str(net()) == str(net(precision=REAL))
    assert not names(net(), XnorConv2d)


@pytest.mark.parametrize(
    ("model", "shape", "relus"),
    [(ResNet18, (2, 3, 32, 32), 17), (SoundNet5, (2, 1, 16000), 6), (LogMel, (2, 1, 16000), 6)],
)
def test_every_activation_comes_from_a_factory(
    model: Any, shape: tuple[int, ...], relus: int
) -> None:
    """None is left inside a forward."""
    seen: list[float] = []

    class Spy(nn.ReLU):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(float(x.min()))
            return super().forward(x)

    options = {"width": 4, "classes": 5, "mean": (0.1,) * shape[1], "std": (1.0,) * shape[1]}
    torch.manual_seed(0)
    spied = model(**options, relu=Spy).eval()
    plain = model(**options).eval()
    plain.load_state_dict(spied.state_dict())
    x = torch.rand(shape)
    with torch.no_grad():
        assert torch.equal(plain(x), spied(x))
        linear = model(**options, relu=nn.Identity).eval()
        linear.load_state_dict(spied.state_dict())
        assert not torch.allclose(linear(x), plain(x))
    assert len(seen) == relus
    assert min(seen) < 0

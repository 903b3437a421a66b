"""Binary layers put into architectures: which become binary, which stay, what is refused."""

import pytest
import torch
from torch import nn

from defensive_tensorization import binarize, sketching, tensorize
from defensive_tensorization.errors import UsageError
from defensive_tensorization.xnor import XnorConv1d, XnorConv2d, XnorLinear, binary_layer


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.Flatten()),
        *(nn.Linear(32, 16), nn.Linear(16, 4)),
    )


def binary(model: nn.Module) -> list[str]:
    return [n for n, m in model.named_modules() if isinstance(m, XnorConv1d | XnorConv2d)]


def test_the_first_and_the_last_layer_stay_real() -> None:
    assert binary(binarize(network())) == ["2", "4"]
    assert binary(binarize(network(), exclude=["[04]"])) == ["2", "5"]
    assert binary(binarize(network(), exclude=[])) == ["0", "2", "4", "5"]


def test_any_tensorized_network() -> None:
    model = binarize(tensorize(network(), theta=0.8, include=[nn.Conv2d, nn.Linear]))
    assert binary(model) == ["2", "4"]
    assert isinstance(model[4], XnorLinear)
    assert list(sketching.sketches(model)) == [f"{i}.weight" for i in (0, 2, 4, 5)]
    x = torch.rand(3, 3, 6, 6)
    model.eval()
    assert not torch.equal(model(x), model(x))
    with sketching.disabled(model):
        torch.testing.assert_close(model(x), binarize(network()).eval()(x))
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_shared_layer_stays_one() -> None:
    conv = nn.Conv2d(8, 8, 3)
    model = binarize(nn.Sequential(conv, nn.ReLU(), conv), exclude=[])
    assert model[0] is model[2]
    assert isinstance(model[0], XnorConv2d)


def test_options_reach_the_layers() -> None:
    layer = binary_layer(nn.Conv1d(2, 3, 1), K=False, alpha=False)
    assert repr(layer) == "XnorConv1d(kernel=3x2x1, K=False, alpha=False)"


@pytest.mark.parametrize(
    ("model", "options", "text"),
    [
        (nn.ReLU(), {}, "ReLU has no layer to make binary"),
        (network(), {"exclude": ["nosuch"]}, "no layer matches 'nosuch': there are 0, 2, 4, 5"),
        (network(), {"exclude": ["*"]}, "Sequential has no layer to make binary"),
    ],
)
def test_what_cannot_be_binarized_is_refused(
    model: nn.Module, options: dict[str, list[str]], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        binarize(model, **options)


def test_what_has_no_binary_form() -> None:
    with pytest.raises(UsageError, match="ConvTranspose2d has no binary form: there are those of"):
        binary_layer(nn.ConvTranspose2d(2, 3, 1))

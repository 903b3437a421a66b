"""SoundNet5 against a count by hand, the printed shapes, and plain functional code."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from defensive_tensorization import sketching
from defensive_tensorization.models import SoundNet5
from defensive_tensorization.models.batchnorm import DrawBatchNorm1d
from defensive_tensorization.models.precision import Precision
from defensive_tensorization.tucker import TuckerConv1d, conv_factory

# [in_channels, out_channels, kernel, stride, padding], Section 4.2
PRINTED = [
    (1, 16, 64, 2, 32),
    (16, 32, 32, 2, 16),
    (32, 64, 16, 2, 8),
    (64, 128, 8, 2, 4),
    (128, 256, 4, 2, 2),
]
LINEAR = [(512, 256), (256, 12)]


def net(width: int = 16, **options: object) -> SoundNet5:
    given = {"width": width, "classes": 12, "mean": (0.01,), "std": (0.1,)} | options
    return SoundNet5(**given)  # type: ignore[arg-type]


def clips(n: int = 2) -> torch.Tensor:
    return torch.rand(n, 1, 16_000, generator=torch.Generator().manual_seed(0)) - 0.5


def test_layers_are_the_printed_ones() -> None:
    convs = [m for m in net().modules() if isinstance(m, nn.Conv1d)]
    assert [
        (c.in_channels, c.out_channels, c.kernel_size[0], c.stride[0], c.padding[0]) for c in convs
    ] == PRINTED
    linears = [m for m in net().modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linears] == LINEAR


def test_parameters_are_as_many_as_the_printed_layers_have() -> None:
    kernels = sum(i * o * k + 2 * o for i, o, k, *_ in PRINTED)  # and BatchNorm
    count = sum(p.numel() for p in net().parameters())
    assert count == kernels + sum(i * o + o for i, o in LINEAR) == 382_188


@pytest.mark.parametrize("training", [False, True])
def test_equals_plain_functions(training: bool) -> None:
    model, x = net().train(training), clips(4)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    y = (x - 0.01) / 0.1
    lengths = []
    for i, (_, _, _, stride, padding) in enumerate(PRINTED):
        block = f"blocks.{i}."
        y = F.conv1d(y, state[f"{block}conv.weight"], None, stride, padding)
        y = F.max_pool1d(y, 3)
        y = F.batch_norm(
            y,
            state[f"{block}norm.running_mean"],
            state[f"{block}norm.running_var"],
            state[f"{block}norm.weight"],
            state[f"{block}norm.bias"],
            training,
        ).relu()
        lengths.append(y.shape[-1])
    y = F.linear(y.flatten(1), state["hidden.weight"], state["hidden.bias"]).relu()
    y = F.linear(y, state["head.weight"], state["head.bias"])
    torch.testing.assert_close(model(x), y)
    assert lengths == [2667, 444, 74, 12, 2]


def test_every_layer_comes_from_a_factory() -> None:
    model = net(conv=conv_factory(theta=0.9, dimensions=1, min_dim=3), norm=DrawBatchNorm1d)
    assert not [m for m in model.modules() if isinstance(m, nn.Conv1d)]
    convs = [m for m in model.modules() if isinstance(m, TuckerConv1d)]
    norms = [m for m in model.modules() if isinstance(m, DrawBatchNorm1d)]
    assert len(convs) == len(norms) == len(sketching.sketches(model)) == 5
    assert [c.weight.sketch.modes for c in convs] == [(0, 2), *[(0, 1, 2)] * 4]
    assert model(clips()).shape == (2, 12)


def test_at_theta_1_it_is_the_dense_network() -> None:
    torch.manual_seed(0)
    dense = net().eval()
    torch.manual_seed(0)
    ours = net(conv=conv_factory(theta=1, dimensions=1, init="random")).eval()
    ours.load_state_dict(
        {k: v for k, v in dense.state_dict().items() if "conv" not in k}, strict=False
    )
    for mine, theirs in zip(ours.blocks, dense.blocks, strict=True):
        theirs.conv.load_state_dict(mine.conv.dense().state_dict())  # type: ignore[union-attr, operator]
    with torch.no_grad():
        torch.testing.assert_close(ours(clips()), dense(clips()), atol=1e-4, rtol=1e-4)


class Signed(nn.Module):
    """Stands for any binary layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        out: torch.Tensor = self.layer(x.sign())
        return out


def test_a_binary_precision_has_its_places_and_signs_of_both_kinds() -> None:
    precision = Precision(Signed, frozenset({"inner"}), "norm_sign_conv")
    model = net(precision=precision).train()
    signed = {name for name, m in model.named_modules() if isinstance(m, Signed)}
    assert signed == {"hidden", *(f"blocks.{i}.conv" for i in range(1, 5))}
    assert model(clips(4)).shape == (4, 12)
    for m in model.modules():
        if isinstance(m, Signed):
            assert 0.2 < float((m.seen[0] < 0).float().mean()) < 0.8  # a ReLU would leave none

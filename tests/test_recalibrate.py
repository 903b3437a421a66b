"""dt.recalibrate on others' models: statistics by hand, the same parameters, training as before."""

from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import defensive_tensorization as dt
from defensive_tensorization import sketching
from defensive_tensorization.errors import UsageError
from defensive_tensorization.models.batchnorm import DrawBatchNorm2d

CONVS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS: dict[int, Any] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def images(count: int, d: int = 2, seed: int = 0) -> Tensor:
    made = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, *[4] * d, generator=made)


def network(d: int = 2, **options: Any) -> nn.Sequential:
    torch.manual_seed(0)
    conv = CONVS[d](3, 6, 3, padding=1)
    norm = NORMS[d](6, **options)
    if norm.weight is not None:
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
    plain = nn.Sequential(conv, norm, nn.Flatten(), nn.Linear(6 * 4**d, 4))
    made = dt.tensorize(plain, theta=0.7)
    assert isinstance(made, nn.Sequential)
    return made


@pytest.mark.parametrize("options", [{}, {"affine": False}, {"eps": 0.1}], ids=str)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_statistics_are_the_reference_s_under_the_draw_in_use(
    d: int, options: dict[str, Any]
) -> None:
    reference, x = images(16, d), images(5, d, 1)
    net = dt.recalibrate(network(d, **options), reference).eval()
    conv, norm, _, linear = network(d, **options).eval()
    for seed in range(3):
        with sketching.frozen(net, seed=seed):
            found = net(x)
        with sketching.frozen(conv, seed=seed):
            met, h = conv(reference).double(), conv(x).double()
        axes = (0, *range(2, d + 2))
        mean, var = met.mean(axes, keepdim=True), met.var(axes, unbiased=False, keepdim=True)
        h = (h - mean) / (var + norm.eps).sqrt()
        if norm.weight is not None:
            shape = (1, -1, *[1] * d)
            h = h * norm.weight.double().view(shape) + norm.bias.double().view(shape)
        by_hand = h.flatten(1) @ linear.weight.double().T + linear.bias.double()
        torch.testing.assert_close(found.double(), by_hand, rtol=1e-4, atol=1e-4)


def test_a_prediction_depends_on_its_own_image_alone() -> None:
    net = dt.recalibrate(network(), images(16)).eval()
    x = images(5, seed=1)
    with sketching.frozen(net, seed=0):
        torch.testing.assert_close(net(x)[:1], net(x[:1]), rtol=1e-4, atol=1e-5)


def test_the_mode_of_the_network_within_counts() -> None:
    plain = network()
    net, x = dt.recalibrate(plain, images(16)).eval(), images(5, seed=1)
    with sketching.frozen(net, seed=0):
        expected = net(x)
        net.train()
        plain.eval()
        torch.testing.assert_close(net(x), expected, rtol=0, atol=0)
        averages = {n: b.clone() for n, b in net.named_buffers() if "running" in n}
        net.eval()
        plain.train()
        trained = net(x)
        assert not torch.equal(trained, expected)
        torch.testing.assert_close(plain(x), trained)
    assert any(not torch.equal(averages[n], b) for n, b in net.named_buffers() if n in averages)


def test_training_is_as_before_and_by_the_same_parameters() -> None:
    plain = network().train()
    other = deepcopy(plain)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1)  # made before
    net = dt.recalibrate(plain, images(16))
    assert net.training
    x, y = images(8, seed=1), torch.arange(8) % 4
    for each in (net, other):
        sketching.seed(each, 5)
        loss = F.cross_entropy(each(x), y)
        loss.backward()
    optimizer.step()
    torch.optim.SGD(other.parameters(), lr=0.1).step()
    for name, value in other.state_dict().items():
        torch.testing.assert_close(net.network.state_dict()[name], value)
    assert "reference" not in net.state_dict()


def test_a_layer_in_two_places_stays_one() -> None:
    norm = nn.BatchNorm2d(3)
    plain = nn.Sequential(norm, nn.ReLU(), norm, nn.Sequential(norm))
    dt.recalibrate(plain, images(4))
    inner = plain[3]
    assert isinstance(inner, nn.Sequential)
    assert plain[0] is plain[2] is inner[0] is norm
    assert isinstance(norm, DrawBatchNorm2d)


class Listed(nn.Module):
    """Its forward goes through a plain list, which torch's registers know nothing of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.steps = [self.conv, self.norm]

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x.flatten(1)


def test_a_layer_that_a_plain_list_holds_too_is_recalibrated() -> None:
    torch.manual_seed(0)
    reference, x = images(64), images(2, seed=1)
    net = dt.recalibrate(Listed(), reference).eval()
    with torch.no_grad():
        alone, beside = net(x), net(torch.cat([x, 9 * reference]))[:2]
        torch.testing.assert_close(alone, beside)  # no neighbours
        h = F.conv2d(reference, net.network.conv.weight, net.network.conv.bias)
        var, mean = torch.var_mean(h, (0, 2, 3), correction=0, keepdim=True)
        h = F.conv2d(x, net.network.conv.weight, net.network.conv.bias)
        torch.testing.assert_close(alone, ((h - mean) / (var + 1e-5).sqrt()).flatten(1))


class Activated(nn.BatchNorm2d):
    """As timm's BatchNormAct2d: another function than BatchNorm's."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


class Preset(nn.BatchNorm2d):
    """Other defaults alone."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=0.1)


def test_one_warning_names_the_layers_that_keep_their_averages() -> None:
    patched, synced = nn.BatchNorm2d(3), nn.SyncBatchNorm(3)
    patched.forward = F.relu  # type: ignore[method-assign]
    plain = nn.Sequential(nn.BatchNorm2d(3), Activated(3), patched, synced, Preset(3))
    with pytest.warns(UserWarning) as caught:
        net = dt.recalibrate(plain, images(8)).eval()
    (message,) = [str(each.message) for each in caught]
    assert "left 3 of the model's 5 BatchNorm layers" in message
    assert "layer '1' is a Activated, a BatchNorm2d with its own forward" in message
    assert "layer '2' has a forward of its own" in message
    assert "layer '3' is a SyncBatchNorm" in message and "\n" not in message
    kinds = [type(each).__name__ for each in plain]
    assert kinds == ["DrawBatchNorm2d", "Activated", *kinds[2:4], "DrawBatchNorm2d"]
    assert kinds[2:4] == ["BatchNorm2d", "SyncBatchNorm"]
    assert isinstance(plain[4], nn.BatchNorm2d) and plain[4].eps == 0.1
    assert net(images(2)).shape == (2, 3, 4, 4)


class Branches(nn.Module):
    """Passes one of its layers, as `taken` says, forward after forward."""

    def __init__(self, taken: list[int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.norms = nn.ModuleList([nn.BatchNorm2d(6) for _ in range(2)])
        self.taken = iter(taken)

    def forward(self, x: Tensor) -> Tensor:
        return self.norms[next(self.taken)](self.conv(x)).flatten(1)  # type: ignore[no-any-return]


def test_a_layer_that_the_reference_did_not_pass_is_refused_by_name() -> None:
    net = dt.recalibrate(Branches([0, 0, 0, 1]), images(8)).eval()
    net(images(4))
    with pytest.raises(UsageError, match=r"BatchNorm layer 'norms\.1' is called more often"):
        net(images(4))


class Depths(nn.Module):
    """Passes one layer as often as `depths` says, forward after forward."""

    def __init__(self, depths: list[int]) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.depths = iter(depths)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        for _ in range(next(self.depths)):
            x = self.norm(x)
        return x.flatten(1)


def test_examples_that_meet_fewer_calls_than_the_reference_are_refused() -> None:
    net = dt.recalibrate(Depths([2, 2, 2, 0, 2, 1]), images(8)).eval()
    net(images(4))
    net(images(4))  # a branch that is not taken at all leaves every other layer right
    with pytest.raises(UsageError, match="BatchNorm layer 'norm' is called more often"):
        net(images(4))


def test_a_layer_that_one_draw_passes_and_another_does_not_is_refused_by_name() -> None:
    net = dt.recalibrate(dt.tensorize(Branches([1, 1, 0]), theta=0.7), images(8)).eval()
    with (
        sketching.draws_per_batch(net, 3),
        pytest.raises(UsageError, match=r"BatchNorm layer 'norms\.[01]' is called more often"),
    ):
        net(images(6))


def test_again_changes_the_reference() -> None:
    net = dt.recalibrate(network(), images(16))
    again = dt.recalibrate(net, images(8))
    assert again.network is net.network and len(again.reference) == 8


@pytest.mark.parametrize(
    ("net", "reference", "complaint"),
    [
        (nn.Linear(2, 2), torch.rand(4, 2), "Linear has no BatchNorm to recalibrate"),
        (nn.BatchNorm1d(2), torch.rand(2), "must be training examples"),
        (nn.Sequential(Activated(3)), images(4), "layer '0' is a Activated, a BatchNorm2d with"),
        (nn.Sequential(nn.LazyBatchNorm2d()), images(4), "layer '0' is lazy"),
        (network(), images(1), "at least 2, got [1, 3, 4, 4]"),
        (network(), [1, 2], "at least 2, got list"),
    ],
)
def test_what_cannot_be_recalibrated_is_one_line(
    net: nn.Module, reference: Any, complaint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        dt.recalibrate(net, reference)
    assert complaint in str(caught.value) and "\n" not in str(caught.value)

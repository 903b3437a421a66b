"""BatchNorm under a random kernel: each handling against nn.BatchNorm2d or a hand computation."""

import copy
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.models import SoundNet5
from defensive_tensorization.models.batchnorm import (
    DrawBatchNorm1d,
    DrawBatchNorm2d,
    Handling,
    Recalibrated,
)
from defensive_tensorization.tucker import TuckerConv2d, conv_factory

HANDLINGS: tuple[Handling, ...] = ("running", "frozen", "batch", "recalibrated")


def images(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def network(handling: Handling, theta: float = 0.7) -> nn.Sequential:
    """Two convolutions, two norms; statistics and affine parameters far from their defaults."""
    torch.manual_seed(0)
    net = nn.Sequential(
        TuckerConv2d.from_conv(nn.Conv2d(3, 8, 3, padding=1), theta, init="random", min_dim=3),
        DrawBatchNorm2d(8, handling),
        nn.ReLU(),
        TuckerConv2d.from_conv(nn.Conv2d(8, 5, 3), theta, init="random", min_dim=3),
        DrawBatchNorm2d(5, handling),
        nn.Flatten(),
    )
    for norm in norms(net):
        nn.init.normal_(norm.weight, 1, 0.3)
        nn.init.normal_(norm.bias)
        cast(Tensor, norm.running_mean).normal_(0, 0.1)
        cast(Tensor, norm.running_var).uniform_(0.5, 2)
    return net.eval()


def norms(net: nn.Module) -> list[DrawBatchNorm2d]:
    return [m for m in net.modules() if isinstance(m, DrawBatchNorm2d)]


def plain(norm: DrawBatchNorm2d) -> nn.BatchNorm2d:
    """nn.BatchNorm2d with the same parameters and statistics."""
    twin = nn.BatchNorm2d(norm.num_features)
    twin.load_state_dict(norm.state_dict())
    return twin.train(norm.training)


def deployed(handling: Handling) -> nn.Module:
    net = network(handling)
    return Recalibrated(net, images(7, seed=9)).eval() if handling == "recalibrated" else net


def by_reference(norm: DrawBatchNorm2d, seen: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """nn.BatchNorm2d in training on `seen` alone; x normalised by the statistics it met there."""
    twin = plain(norm).train()
    twin.momentum = 1.0
    normalised, n = twin(seen), seen.numel() / seen.shape[1]
    cast(Tensor, twin.running_var).mul_((n - 1) / n)  # kept unbiased, used biased
    twin.eval()
    torch.testing.assert_close(twin(seen), normalised)
    return normalised, twin(x)


def test_recalibrated_by_hand() -> None:
    net, seen, x = network("recalibrated"), images(7, seed=9), images(4)
    model = Recalibrated(copy.deepcopy(net), seen).eval()
    with torch.no_grad(), sketching.frozen(net, seed=5), sketching.frozen(model, seed=5):
        expected = x
        for layer in net:
            if isinstance(layer, DrawBatchNorm2d):
                seen, expected = by_reference(layer, seen, expected)
            else:
                seen, expected = layer(seen), layer(expected)
        torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("handling", ["running", "frozen", "recalibrated"])
def test_a_prediction_depends_on_its_own_image_alone(handling: Handling) -> None:
    model, x = deployed(handling), images(6)
    with torch.no_grad(), sketching.frozen(model, seed=1):
        together = model(x)
        for i in range(len(x)):
            torch.testing.assert_close(model(x[i : i + 1])[0], together[i])
        torch.testing.assert_close(model(torch.cat([x[:1], 9 * images(3, seed=4)]))[0], together[0])


def test_under_batch_a_prediction_depends_on_its_neighbours() -> None:
    model, x = deployed("batch"), images(6)
    with torch.no_grad(), sketching.frozen(model, seed=1):
        other = model(torch.cat([x[:1], 9 * images(5, seed=4)]))
        assert not torch.allclose(other[0], model(x)[0], atol=0.1)


def test_recalibrated_follows_the_draw() -> None:
    model, x = deployed("recalibrated"), images(3)
    with torch.no_grad():
        assert not torch.allclose(model(x), model(x))
        with sketching.disabled(model):
            assert torch.equal(model(x), model(x))


def test_batch_is_the_training_forward_without_its_update() -> None:
    norm = norms(network("batch"))[0]
    kept, twin, x = copy.deepcopy(norm.state_dict()), plain(norm).train(), torch.randn(4, 8, 5, 5)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(norm(mine), twin(theirs))
    weights = torch.randn(4, 8, 5, 5)
    (norm(mine) * weights).sum().backward()
    (twin(theirs) * weights).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)  # through the statistics too
    assert all(torch.equal(kept[k], v) for k, v in norm.state_dict().items())


@pytest.mark.parametrize("handling", ["running", "frozen", "recalibrated"])
def test_the_input_gradient_is_the_true_one(handling: Handling) -> None:
    model, x = deployed(handling).double(), images(2).double().requires_grad_()
    with sketching.frozen(model, seed=1):
        assert torch.autograd.gradcheck(model, (x,))


@pytest.mark.parametrize("handling", ["running", "recalibrated"])
def test_without_a_reference_it_is_batchnorm2d(handling: Handling) -> None:
    norm = norms(network(handling))[0]
    twin, x = plain(norm), torch.randn(4, 8, 5, 5)
    assert torch.equal(norm(x), twin(x))
    norm.train(), twin.train()
    for _ in range(2):
        x = torch.randn(4, 8, 5, 5) * 2 + 1
        assert torch.equal(norm(x), twin(x))
    for key, value in twin.state_dict().items():
        assert torch.equal(norm.state_dict()[key], value)
    assert norm.state_dict().keys() == twin.state_dict().keys()


@pytest.mark.parametrize("handling", HANDLINGS)
def test_statistics_in_training(handling: Handling) -> None:
    net = network(handling).train()
    before = [copy.deepcopy(dict(norm.named_buffers())) for norm in norms(net)]
    net(images(8)).sum().backward()
    for norm, kept in zip(norms(net), before, strict=True):
        for name, value in norm.named_buffers():
            assert torch.equal(value, kept[name]) == (handling == "frozen"), name
        assert norm.weight.grad is not None and norm.weight.grad.abs().sum() > 0


def test_frozen_trains_under_what_the_test_sees() -> None:
    net, x = network("frozen"), images(4)
    with torch.no_grad(), sketching.frozen(net, seed=0):
        evaluated = net.eval()(x)
        assert torch.equal(net.train()(x), evaluated)
    assert net.training and net[0].training and not net[1].training


def test_training_a_recalibrated_network_ignores_the_reference() -> None:
    net, x = network("recalibrated"), images(4)
    model = Recalibrated(net, images(7, seed=9))
    twin = copy.deepcopy(net).train()
    with sketching.frozen(net, seed=0), sketching.frozen(twin, seed=0):
        torch.testing.assert_close(model.train()(x), twin(x))
    assert "reference" not in model.state_dict()


def test_a_record_of_a_recalibrated_forward_holds_each_draw_once() -> None:
    model, x = deployed("recalibrated"), images(3)
    sketching.seed(model, 0)
    with torch.no_grad():
        with sketching.record(model) as ledger:
            first, second = model(x), model(x)
        assert all(len(draws) == 2 for draws in ledger.draws.values()) and len(ledger.draws) == 2
        assert not torch.equal(first, second)
        with sketching.replay(model, ledger):
            assert torch.equal(model(x), first)
            assert torch.equal(model(x), second)


def test_layers_that_a_forward_passes_twice_under_recalibrated() -> None:
    """Each pass has its own draw and its own statistics, which the examples share."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = TuckerConv2d.from_conv(nn.Conv2d(3, 3, 3, padding=1), 0.7, init="random")
            self.norm = DrawBatchNorm2d(3, "recalibrated")

        def forward(self, x: Tensor) -> Tensor:
            return cast(Tensor, self.norm(self.conv(self.norm(self.conv(x)))))

    torch.manual_seed(0)
    model = Recalibrated(Twice(), images(7)).eval()
    sketching.seed(model, 0)  # a draw that drops nearly all leaves no variance to normalise
    with torch.no_grad(), sketching.record(model) as ledger:
        made = model(images(7))  # the reference itself: normalised to the affine parameters
    assert len(ledger.draws["network.conv.weight"]) == 2
    torch.testing.assert_close(made.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_weights_get_their_gradient_under_autocast_and_recalibrated() -> None:
    """The reference goes first, without gradients; autocast must not keep its weights."""
    model = deployed("recalibrated")
    dense = Recalibrated(nn.Sequential(nn.Conv2d(3, 2, 3), DrawBatchNorm2d(2)), images(7)).eval()
    for each in (model, dense):
        with torch.autocast("cpu", torch.bfloat16):
            (each(images(4)) ** 2).sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in each.parameters())


@pytest.mark.parametrize("handling", HANDLINGS)
def test_bfloat16_stays_close(handling: Handling) -> None:
    model, x = deployed(handling), images(4)
    with torch.no_grad(), sketching.frozen(model, seed=0):
        exact = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(x)
    assert float((rough.float() - exact).norm() / exact.norm()) < 0.05


def test_one_example_under_batch() -> None:
    norm = norms(network("batch"))[0]
    x = torch.randn(1, 8, 4, 4)
    expected = F.batch_norm(x, None, None, norm.weight, norm.bias, True)
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize("reference", [0, 3])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("handling", HANDLINGS)
def test_1d_is_2d_at_height_one(handling: Handling, training: bool, reference: int) -> None:
    image = copy.deepcopy(norms(network(handling))[0]).train(training)
    clip = DrawBatchNorm1d(8, handling)
    clip.load_state_dict(image.state_dict())
    clip.train(training)
    x, of_clip, of_image = torch.randn(5, 8, 9) + 1, cast(nn.Module, clip), cast(nn.Module, image)
    if reference:
        seen = torch.randn(reference, 8, 9)
        of_clip = Recalibrated(clip, seen).train(training)
        of_image = Recalibrated(image, seen.unsqueeze(2)).train(training)
    torch.testing.assert_close(of_clip(x), of_image(x.unsqueeze(2)).squeeze(2))
    for key, value in image.state_dict().items():
        torch.testing.assert_close(clip.state_dict()[key], value)


def test_soundnet5_under_recalibrated() -> None:
    """A clip's prediction depends on the draw and on that clip alone."""
    torch.manual_seed(0)
    net = SoundNet5(
        width=4,
        classes=12,
        mean=(0.0,),
        std=(0.1,),
        conv=conv_factory(theta=0.7, dimensions=1, min_dim=3, init="random"),
        norm=lambda channels: DrawBatchNorm1d(channels, "recalibrated"),
    )
    made = torch.Generator().manual_seed(0)
    seen, x = (0.2 * torch.randn(n, 1, 16_000, generator=made) for n in (6, 3))
    model = Recalibrated(net, seen).eval()
    with torch.no_grad():
        assert not torch.allclose(model(x), model(x))
        with sketching.frozen(model, seed=1):
            together, alone = model(x), torch.cat([model(each[None]) for each in x])
            torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
            trained = net.train()(seen)  # the reference meets what training does
            torch.testing.assert_close(model.eval()(seen), trained, atol=1e-4, rtol=1e-4)

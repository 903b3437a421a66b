"""tensorize on strangers' models: the same function at theta = 1, and clear refusals."""

import copy
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import defensive_tensorization as dt
from defensive_tensorization import sketching
from defensive_tensorization.errors import UsageError
from defensive_tensorization.tucker import TuckerConv1d, TuckerConv2d, TuckerLinear


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def audio() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 8, 64, stride=2, padding=32),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.MaxPool1d(4),
        nn.Conv1d(8, 16, 8, stride=2, padding=4, groups=2),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(16, 12),
    )


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 8, 3, stride=2),
        nn.Flatten(),
        nn.Linear(8 * 15 * 15, 3),
    )


CASES = {
    "resnet18": ((2, 3, 64, 64), 20),
    "mobilenet_v2": ((2, 3, 64, 64), 52),
    "convnext_tiny": ((2, 3, 32, 32), 22),
    "audio": ((3, 1, 1000), 2),
}


@pytest.mark.parametrize("name", CASES)
def test_any_architecture_is_the_same_at_theta_1(name: str) -> None:
    shape, convolutions = CASES[name]
    torch.manual_seed(0)
    model = (audio() if name == "audio" else getattr(torchvision.models, name)()).eval()
    x = torch.randn(shape)
    with torch.no_grad():
        expected = model(x)
        random = dt.tensorize(model, theta=0.9)
        with sketching.disabled(random):
            assert relative(random(x), expected) < 1e-4
        # live, under eval() too; of the small network one draw in 75 keeps every component
        assert max(relative(random(x), expected) for _ in range(5)) > 1e-2
    assert len(random.tensorization.layers) == convolutions
    assert not any(isinstance(m, nn.Conv1d | nn.Conv2d) for m in random.modules())


@pytest.mark.slow
def test_resnet50_is_the_same_at_theta_1() -> None:
    torch.manual_seed(0)
    model = torchvision.models.resnet50().eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(x)
        assert relative(dt.tensorize(model, theta=1.0)(x), expected) < 1e-4


@pytest.mark.parametrize("kind", [nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d])
def test_transposed_convolutions(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(kind(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2))
    x = torch.randn(2, 6, *[5] * (int(kind.__name__[-2])))
    expected = model(x)
    random = dt.tensorize(model, theta=0.7)
    with sketching.disabled(random):
        torch.testing.assert_close(random(x), expected, rtol=1e-4, atol=1e-5)
    with sketching.frozen(random, seed=0):
        dense = copy.deepcopy(random[0]).dense()
        with torch.no_grad():
            dense.weight.copy_(random[0].weight())
        torch.testing.assert_close(random(x), dense(x), rtol=1e-4, atol=1e-5)


def test_everything_a_layer_has_is_kept() -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding="valid", dilation=(1, 2), groups=2),
        nn.Conv2d(6, 3, 3, padding=1, padding_mode="reflect", bias=False),
    ).double()
    model.eval()
    x = torch.randn(2, 4, 12, 14, dtype=torch.float64)
    expected = model(x)
    random = dt.tensorize(model, theta=0.8)
    assert not random[0].training and random[0].weight.core.dtype == torch.float64
    assert random[0].bias is not None and random[1].bias is None
    with sketching.disabled(random):
        torch.testing.assert_close(random(x), expected, rtol=1e-10, atol=1e-10)
    plain = nn.Sequential(*(layer.dense() for layer in random))
    assert [type(layer) for layer in plain] == [nn.Conv2d, nn.Conv2d]
    torch.testing.assert_close(plain(x), expected, rtol=1e-10, atol=1e-10)


def test_a_shared_layer_stays_shared() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.ModuleDict({"a": conv, "b": nn.Sequential(conv)})
    random = dt.tensorize(model, theta=0.9)
    assert random["a"] is random["b"][0]
    assert len(random.tensorization.layers) == 1


def test_include_and_exclude() -> None:
    def names(**choice: object) -> list[str]:
        random = dt.tensorize(audio(), theta=0.9, **choice)
        return [layer.name for layer in random.tensorization.layers]

    assert names() == ["0", "4"]
    assert names(exclude=["0"]) == ["4"]
    assert names(include=[nn.Conv1d, "7"]) == ["0", "4", "7"]
    assert names(include=["*"], exclude=[nn.Conv1d]) == ["7"]
    assert names(include=[nn.Linear]) == ["7"]


def test_a_model_that_is_one_layer() -> None:
    assert isinstance(dt.tensorize(nn.Conv1d(2, 3, 3), theta=0.9), TuckerConv1d)
    assert isinstance(dt.tensorize(nn.Linear(4, 3), theta=0.9, include=["*"]), TuckerLinear)


def test_linear_equals_its_kernel_under_the_draw() -> None:
    torch.manual_seed(0)
    dense = nn.Linear(20, 30)
    layer = TuckerLinear.from_linear(dense, 0.7)
    x = torch.randn(2, 5, 20)
    with sketching.frozen(layer, seed=1):
        expected = x @ layer.weight().T + layer.bias
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
    with sketching.per_sample(layer), sketching.frozen(layer, seed=1):
        kernels = layer.weight(2)
        expected = torch.stack([x[i] @ kernels[i].T for i in range(2)]) + layer.bias
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.dense()(x), dense(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"modes": []}, {"min_dim": 50}, {"min_keep": 100}], ids=str)
def test_a_network_without_any_randomness_is_warned_of_once(options: dict[str, Any]) -> None:
    with pytest.warns(UserWarning, match="left no layer random at theta = 0.5 with") as seen:
        model = dt.tensorize(small(), theta=0.5, **options)
    assert len(seen) == 1 and "\n" not in str(seen[0].message) and seen[0].filename == __file__
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(model(x), model(x))


@pytest.mark.parametrize(
    "options",
    [
        *({"theta": 1, "modes": []}, {"theta": 0.5, "min_dim": 12}, {"theta": 0.5, "min_keep": 15}),
        {"theta": 0.5, "modes": [3]},
    ],
    ids=str,
)
def test_no_warning_where_a_layer_is_random_or_theta_is_1(options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dt.tensorize(small(), **options)


def test_the_report_counts_ranks_parameters_and_errors() -> None:
    random = dt.tensorize(
        nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 1)), theta=0.9, rank=0.5
    )
    first, second = random.tensorization.layers
    assert (first.shape, first.ranks) == ((8, 4, 3, 3), (4, 2, 2, 2))
    assert first.parameters_before == 8 * 4 * 9 + 8
    assert first.parameters_after == 4 * 2 * 2 * 2 + 8 * 4 + 4 * 2 + 3 * 2 + 3 * 2 + 8
    assert 0.1 < first.error < 1.0
    assert second.ranks == (4, 4, 1, 1) and second.sketched == (0, 1)
    text = str(random.tensorization)
    assert "theta = 0.9" in text and "8x4x3x3" in text and "4x2x2x2" in text and "2 layers" in text


def test_what_cannot_be_tensorized_is_refused() -> None:
    def refused(model: nn.Module, text: str, **options: object) -> None:
        with pytest.raises(UsageError, match=text):
            dt.tensorize(model, **({"theta": 0.9} | options))  # type: ignore[arg-type]

    refused(nn.ReLU(), "ReLU has no layer to tensorize")
    refused(nn.Sequential(nn.Linear(2, 2)), "or Linear layers named in include")
    refused(nn.Sequential(nn.LazyConv2d(3, 3)), "layer '0' is lazy.*run the model once first")
    refused(nn.Sequential(weight_norm(nn.Conv2d(3, 3, 3))), "layer '0' is parametrized")
    refused(dt.tensorize(audio(), theta=0.9), "layer '0' is tensorized already")
    refused(audio(), r"theta must lie in \(0, 1\], got 1.5", theta=1.5)
    refused(audio(), "no layer matches 'fc': there are 0, 4, 7", include=["fc"])
    refused(audio(), "no layer matches 'fc'", exclude=["fc"])
    refused(audio(), "write \\['fc'\\]", include="fc")
    refused(audio(), "rank must be 'full', 'same' or a fraction", rank="half")
    refused(audio(), "mode 3 does not exist", modes=[3])


def test_a_refusal_leaves_the_model_alone() -> None:
    model = audio()
    with pytest.raises(UsageError):
        dt.tensorize(model, theta=0.9, modes=[3])
    assert isinstance(model[0], nn.Conv1d)


def test_state_dicts_copies_and_wrappers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    random = dt.tensorize(small(), theta=0.8).eval()
    torch.save(random.state_dict(), tmp_path / "net.pt")
    other = dt.tensorize(small(), theta=0.8).eval()
    other.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    twin = copy.deepcopy(random)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        for model in (other, twin, nn.DataParallel(random)):
            with sketching.frozen(random, seed=5):
                expected = random(x)
            with sketching.frozen(model, seed=5):
                torch.testing.assert_close(model(x), expected)
        last = x.contiguous(memory_format=torch.channels_last)
        with sketching.frozen(random, seed=5):
            torch.testing.assert_close(random(last), expected, rtol=1e-4, atol=1e-4)
            with torch.autocast("cpu", torch.bfloat16):
                assert relative(random(x).float(), expected) < 0.05


def test_distributed_data_parallel_gives_every_parameter_its_gradient(tmp_path: Path) -> None:
    from torch import distributed

    torch.manual_seed(0)
    random = dt.tensorize(small(), theta=0.8)
    x = torch.randn(2, 3, 32, 32)
    with sketching.frozen(random, seed=1):
        expected = torch.autograd.grad(random(x).square().sum(), list(random.parameters()))
        distributed.init_process_group(
            "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
        )
        try:
            nn.parallel.DistributedDataParallel(random)(x).square().sum().backward()
        finally:
            distributed.destroy_process_group()
    for parameter, gradient in zip(random.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_kept_products_notice_that_the_weights_changed() -> None:
    layer = TuckerConv2d.from_conv(nn.Conv2d(3, 4, 3), 1.0).eval()
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        before = layer(x)
        assert torch.equal(layer(x), before)
        layer.weight.core.mul_(2)
        layer.bias.zero_()
        after = layer(x)
        dense = layer.dense()
    torch.testing.assert_close(dense(x), after)
    assert relative(after, before) > 0.1
    with torch.inference_mode():
        layer(x)
    layer(x).sum().backward()
    assert layer.weight.core.grad is not None


@pytest.mark.slow
def test_torch_compile() -> None:
    random = dt.tensorize(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)), theta=0.7
    )
    x = torch.randn(2, 3, 8, 8)
    compiled = torch.compile(random)
    with sketching.frozen(random, seed=0):
        torch.testing.assert_close(compiled(x), random(x), rtol=1e-4, atol=1e-5)
    assert not torch.equal(compiled(x), compiled(x))  # live draws, not constants of the graph

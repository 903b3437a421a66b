"""Tensorized networks outside torch's eager mode."""

import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.defences.dropout import DropoutLinear
from defensive_tensorization.errors import UsageError
from defensive_tensorization.tucker import tensorize

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
FIXED: dict[str, Callable[[nn.Module], Any]] = {
    "frozen": lambda net: sketching.frozen(net, seed=0),
    "disabled": sketching.disabled,
}


def network(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    convs = (nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2))
    last = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), DropoutLinear(8, 4, rate=0.3, train_rate=0.1))
    return tensorize(nn.Sequential(*convs, *last), theta=0.5, **options).eval()


def exported(net: nn.Module) -> Any:
    return torch.export.export(net, (X,)).module()


def traced(net: nn.Module) -> Any:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(net, X), file)
    file.seek(0)
    return torch.jit.load(file)


def compiled(net: nn.Module) -> Any:
    torch._dynamo.reset()
    return torch.compile(net, fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("context", FIXED)
@pytest.mark.parametrize("leave", [exported, traced])
def test_a_fixed_network_leaves(leave: Any, context: str, grad: bool) -> None:
    net = network()
    with FIXED[context](net), torch.set_grad_enabled(grad):
        left, expected = leave(net), net(X)
    assert not torch.allclose(net(X), expected)
    torch.testing.assert_close(left(X), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("leave, what", [(exported, "exported graph"), (traced, "torch.jit.trace")])
def test_a_live_network_does_not(leave: Any, what: str) -> None:
    with pytest.raises(UsageError, match=f"{what} would keep one draw of a live network"):
        leave(network())
    leave(tensorize(nn.Sequential(nn.Conv2d(3, 4, 3)), theta=1.0))


@pytest.mark.skipif(
    any(__import__("importlib.util").util.find_spec(m) is None for m in ("onnx", "onnxscript")),
    reason="onnx and onnxscript are not installed",
)
@pytest.mark.parametrize("context", FIXED)
def test_onnx(context: str) -> None:
    net = network()
    with FIXED[context](net), torch.no_grad():
        made, expected = torch.onnx.export(net, (X,), dynamo=True), net(X)
    torch.testing.assert_close(made(X)[0], expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("rescale", [False, True])
def test_one_graph_serves_every_context(rescale: bool) -> None:
    net = network(rescale=rescale)
    graph = compiled(net)
    for context in FIXED.values():
        with context(net):
            torch.testing.assert_close(graph(X), net(X), rtol=0, atol=1e-5)
    sketching.seed(net, 3)
    live = [net(X) for _ in range(2)]
    sketching.seed(net, 3)
    for expected in live:
        torch.testing.assert_close(graph(X), expected, rtol=0, atol=1e-5)
    assert not torch.allclose(live[0], live[1])
    with sketching.per_sample(net), pytest.raises(UsageError, match="one draw for the batch"):
        graph(X)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("again", [False, True])
def test_gradients_of_a_live_graph(backend: str, again: bool) -> None:
    conv = nn.Conv2d(6, 6, 3, padding=1)
    net = tensorize(nn.Sequential(conv, nn.Tanh()), theta=0.6)
    net = nn.Sequential(net, net)  # one sketch, two draws

    def forward(x: Tensor) -> Tensor:
        if again:
            return torch.utils.checkpoint.checkpoint(net, x, use_reentrant=False)
        return net(x)

    def gradient(run: Any) -> list[Tensor]:
        sketching.seed(net, 0)
        net.zero_grad()
        run(torch.ones(2, 6, 5, 5)).square().sum().backward()
        return [p.grad for p in net.parameters() if p.grad is not None]

    torch._dynamo.reset()
    found = gradient(torch.compile(forward, fullgraph=True, backend=backend))
    torch.testing.assert_close(found, gradient(net), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_vmap(randomness: str) -> None:
    net = network()
    one = torch.func.vmap(lambda x: net(x[None])[0], randomness=randomness)
    for context in FIXED.values():
        with context(net):
            torch.testing.assert_close(one(X), net(X))
    sketching.seed(net, 1)
    found = one(X)
    sketching.seed(net, 1)
    with sketching.parts(net, 1 if randomness == "same" else 2):
        torch.testing.assert_close(found, net(X))
    with pytest.raises(UsageError, match="vmap of a live network must say what it draws"):
        torch.func.vmap(lambda x: net(x[None])[0])(X)


def test_func() -> None:
    net = network().double()
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    x = X.double()

    def loss(p: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(net, p, (x,)).square().sum()

    sketching.seed(net, 0)
    found, jacobian = torch.func.grad(loss)(parameters, x), torch.func.jacrev(net)(x)
    sketching.seed(net, 0)
    net(x).square().sum().backward()
    for name, p in net.named_parameters():
        torch.testing.assert_close(found[name], p.grad)
    torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(net, x))
    with sketching.frozen(net, seed=0):
        torch.func.grad(loss)(parameters, x)
        plain = torch.autograd.functional.jacobian(net, x)  # no transform's tensor was kept
        torch.testing.assert_close(torch.func.jacfwd(net)(x), plain)

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
from defensive_tensorization.xnor import SIGN_GRADIENTS, binarize, in_graph, sign_gradient
from defensive_tensorization.xnor.geometry import Geometry

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
FIXED: dict[str, Callable[[nn.Module], Any]] = {
    "frozen": lambda net: sketching.frozen(net, seed=0),
    "disabled": sketching.disabled,
}


def one(kind: Any, *arguments: Any, **options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(kind(3, 8, *arguments, **options), nn.Tanh(), kind(8, 4, 1))


OTHERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "Conv1d": (one(nn.Conv1d, 3, padding="same", dilation=2), (2, 3, 9)),
    "Conv2d": (one(nn.Conv2d, 3, stride=2, padding=1, padding_mode="reflect"), (2, 3, 7, 6)),
    "Conv3d": (one(nn.Conv3d, (1, 3, 2), padding=(0, 1, 1)), (2, 3, 4, 5, 4)),
    "ConvTranspose2d": (one(nn.ConvTranspose2d, 3, stride=2, output_padding=1), (2, 3, 4, 4)),
    "wide": (lambda: nn.Conv2d(64, 64, 3), (2, 64, 4, 4)),  # cheaper factorized, at these sizes
    "Linear": (lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), (2, 6)),
    "binary Conv1d": (one(nn.Conv1d, 3, padding="same"), (2, 3, 9)),
    "binary Conv2d": (one(nn.Conv2d, 3, stride=2, padding=1), (2, 3, 7, 6)),
    "binary Linear": (lambda: nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 3)), (2, 6)),
}


def other(kind: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    make, shape = OTHERS[kind]
    net = tensorize(make(), theta=0.7, include=["*"]).eval()
    binary = kind.startswith("binary")
    return binarize(net, exclude=[]) if binary else net, torch.randn(shape)


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


@pytest.mark.slow
@pytest.mark.parametrize("context", FIXED)
@pytest.mark.parametrize("kind", OTHERS)
def test_every_layer_leaves_for_batches_of_any_size(kind: str, context: str) -> None:
    net, x = other(kind)
    batch = {0: torch.export.Dim("batch", min=2)}
    larger = torch.cat([x, -x, x / 2])
    with FIXED[context](net), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = net(larger)
        graph = torch.export.export(net, (x.clone(),), dynamic_shapes=(batch,))
        file = io.BytesIO()
        torch.export.save(graph, file)
        file.seek(0)
        file_of_trace = io.BytesIO()
        torch.jit.save(torch.jit.trace(net, x), file_of_trace)
        file_of_trace.seek(0)
        mapped = torch.func.vmap(lambda u: net(u[None])[0])(larger)
    for found in (torch.export.load(file).module()(larger), torch.jit.load(file_of_trace)(larger)):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(mapped, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in OTHERS if "binary" in kind])
def test_binary_gradients_in_transforms(kind: str) -> None:
    """Those of the layer's own backward pass, whose derivative is tested in test_xnor."""
    net, x = other(kind)
    net, x = net.double(), x.double()
    names = [name for name, _ in net.named_parameters()]

    def loss(x: Tensor, *parameters: Tensor) -> Tensor:
        values = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(net, values, (x,)).square().sum()

    for name in ("identity", "tanh", "tanh075"):
        with sketching.frozen(net, seed=0), sign_gradient(name):
            inputs = [x.clone().requires_grad_(), *net.parameters()]
            known = torch.autograd.grad(net(inputs[0]).square().sum(), inputs)
            detached = [t.detach() for t in inputs]
            found = torch.func.grad(loss, argnums=tuple(range(len(inputs))))(*detached)
        torch.testing.assert_close(found, known)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_signs_are_signs_in_every_precision(dtype: torch.dtype) -> None:
    x = torch.cat([torch.linspace(-2, 2, 401), torch.tensor([-0.0, 0.0])]).to(dtype)
    signs = torch.where(x >= 0, 1.0, -1.0).to(dtype)
    torch.testing.assert_close(
        in_graph.binary_weight(x.view(1, 1, -1), 1, False).flatten(), signs, rtol=0, atol=2e-7
    )
    one = torch.ones(1, 1, 1, dtype=dtype)
    for name in SIGN_GRADIENTS:
        made = in_graph.binary_product(
            x.view(-1, 1, 1).requires_grad_(), one, Geometry((1,), (0,), (1,), 1), False, name
        )
        torch.testing.assert_close(made.flatten(), signs, rtol=0, atol=2e-7)


@pytest.mark.slow
def test_a_compiled_binary_network_takes_the_gradient_in_force() -> None:
    net, x = other("binary Conv2d")
    graph = compiled(net)

    def gradient(run: Any, name: str) -> Tensor:
        u = x.clone().requires_grad_()
        with sketching.frozen(net, seed=0), sign_gradient(name):
            run(u).square().sum().backward()
        assert u.grad is not None
        return u.grad

    for name in ("identity", "tanh", "identity", "tanh075"):
        torch.testing.assert_close(gradient(graph, name), gradient(net, name))
    assert not torch.allclose(gradient(net, "tanh"), gradient(net, "identity"))


@pytest.mark.parametrize("leave, what", [(exported, "exported graph"), (traced, "torch.jit.trace")])
def test_a_live_network_does_not(leave: Any, what: str) -> None:
    with pytest.raises(UsageError, match=f"{what} would keep one draw of a live network"):
        leave(network())
    leave(tensorize(nn.Sequential(nn.Conv2d(3, 4, 3)), theta=1.0))


@pytest.mark.skipif(
    any(__import__("importlib.util").util.find_spec(m) is None for m in ("onnx", "onnxscript")),
    reason="onnx and onnxscript are not installed",
)
@pytest.mark.slow
@pytest.mark.parametrize("context", FIXED)
@pytest.mark.parametrize("kind", ["own", *OTHERS])
def test_onnx(kind: str, context: str) -> None:
    """By the evaluator that defines ONNX, for a batch of another size."""
    from onnx.reference import ReferenceEvaluator

    net, x = (network(), X) if kind == "own" else other(kind)
    shapes = ({0: torch.export.Dim("batch", min=2)},)
    larger = torch.cat([x, -x])
    with FIXED[context](net), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = net(larger)
        made = torch.onnx.export(net, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False)
    proto = made.model_proto
    (found,) = ReferenceEvaluator(proto).run(None, {proto.graph.input[0].name: larger.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-5)


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
    for sketch in sketching.sketches(net).values():
        sketch.theta = 0.8
    for context in FIXED.values():
        with context(net):
            torch.testing.assert_close(graph(X), net(X), rtol=0, atol=1e-5)
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
def test_vmap_meets_the_draws(randomness: str) -> None:
    net = network()
    one = torch.func.vmap(lambda x: net(x[None])[0], randomness=randomness)
    for context in FIXED.values():
        with context(net):
            torch.testing.assert_close(one(X), net(X))
    sketching.seed(net, 1)
    found = one(X)
    sketching.seed(net, 1)
    with sketching.draws_per_batch(net, 1 if randomness == "same" else 2):
        torch.testing.assert_close(found, net(X))
    with pytest.raises(UsageError, match="vmap of a live network must say what it draws"):
        torch.func.vmap(lambda x: net(x[None])[0])(X)


def test_functional_calls_and_jacobians_meet_the_draws() -> None:
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

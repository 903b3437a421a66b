"""A forward that is run again for its gradient meets the draw of the first one.

The reference is plain autograd: the same network, seeded alike, without checkpoints, in float64.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    checkpoint_wrapper,
)
from torch.utils.checkpoint import (
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
)
from torchvision.models import DenseNet

from defensive_tensorization import sketching
from defensive_tensorization.defences.dropout import DropoutLinear
from defensive_tensorization.defences.pruning import StochasticPruning
from defensive_tensorization.errors import UsageError
from defensive_tensorization.models.batchnorm import DrawBatchNorm2d, Recalibrated
from defensive_tensorization.tucker import tensorize
from defensive_tensorization.xnor import binarize, sign_gradient

Run = Callable[[Tensor], Tensor]


def network(*, shared: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    convs = [nn.Conv2d(6, 6, 3, padding=1) for _ in range(3)]
    net = tensorize(nn.Sequential(convs[0], nn.Tanh(), convs[1], nn.Tanh(), convs[2]), theta=0.6)
    if shared:  # one layer, one sketch, two draws a forward
        net = nn.Sequential(net[0], net[1], net[0], net[1], net[4])
    return net.double()


def images(*shape: int) -> Tensor:
    return torch.randn(
        *(shape or (2, 6, 5, 5)), generator=torch.Generator().manual_seed(1)
    ).double()


def gradient(net: nn.Module, run: Run, x: Tensor) -> Tensor:
    """Of the input and all parameters, one after the other."""
    sketching.seed(net, 0)
    net.zero_grad()
    x = x.clone().requires_grad_()
    run(x).square().sum().backward()
    return torch.cat([p.grad.flatten() for p in (x, *net.parameters()) if p.grad is not None])


class Own(torch.autograd.Function):
    """Another library's checkpoint."""

    @staticmethod
    def forward(ctx: Any, run: Run, x: Tensor) -> Tensor:
        ctx.run = run
        ctx.save_for_backward(x)
        return run(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        with torch.enable_grad():
            x = ctx.saved_tensors[0].detach().requires_grad_()
            y = ctx.run(x)
        torch.autograd.backward(y, gradient)
        return None, x.grad


def nested(net: nn.Sequential, outer: bool, inner: bool) -> Run:
    def inside(x: Tensor) -> Tensor:
        return net[-1](checkpoint(net[1:-1], net[0](x), use_reentrant=inner))

    return lambda x: checkpoint(inside, x, use_reentrant=outer)


def saving(kept: list[Any]) -> Callable[[nn.Sequential], Run]:
    """Selective checkpointing: what these operators made is kept, the rest computed again."""
    contexts = partial(create_selective_checkpoint_contexts, kept)
    return lambda net: lambda x: checkpoint(net, x, use_reentrant=False, context_fn=contexts)


def wrapped(how: CheckpointImpl) -> Callable[[nn.Sequential], Run]:
    """Every layer in the wrapper of torch.distributed, over the same parameters."""
    return lambda net: nn.Sequential(
        *(checkpoint_wrapper(layer, checkpoint_impl=how) for layer in net)
    )


FORMS: dict[str, Callable[[nn.Sequential], Run]] = {
    "reentrant": lambda net: lambda x: checkpoint(net, x, use_reentrant=True),
    "not reentrant": lambda net: lambda x: checkpoint(net, x, use_reentrant=False),
    "whole": lambda net: lambda x: checkpoint(net, x, use_reentrant=False, early_stop=False),
    "no rng": lambda net: (
        lambda x: checkpoint(net, x, use_reentrant=False, preserve_rng_state=False)
    ),
    "selective": saving([torch.ops.aten.convolution.default]),
    "selective, products": saving([torch.ops.aten.mm.default, torch.ops.aten.bmm.default]),
    "wrapper": wrapped(CheckpointImpl.NO_REENTRANT),
    "wrapper, reentrant": wrapped(CheckpointImpl.REENTRANT),
    "keywords": lambda net: lambda x: checkpoint(lambda *, u: net(u), u=x, use_reentrant=False),
    "another library": lambda net: lambda x: Own.apply(net, x),
    "another in torch's": lambda net: (
        lambda x: checkpoint(lambda u: Own.apply(net, u), x, use_reentrant=False)
    ),
    **{
        f"nested {outer} {inner}": lambda net, outer=outer, inner=inner: nested(net, outer, inner)
        for outer in (True, False)
        for inner in (True, False)
    },
}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_checkpointing_gives_the_plain_gradient(form: str, shared: bool) -> None:
    net = network(shared=shared)
    plain = gradient(net, net, images())
    torch.testing.assert_close(gradient(net, FORMS[form](net), images()), plain)
    assert not torch.allclose(gradient(net, lambda x: net(net(x)), images()), plain)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_segments_give_the_plain_gradient(reentrant: bool) -> None:
    net = network()
    plain = gradient(net, net, images())
    for segments in (2, 3, 5):
        found = gradient(
            net,
            lambda x, n=segments: checkpoint_sequential(net, n, x, use_reentrant=reentrant),
            images(),
        )
        torch.testing.assert_close(found, plain)


@pytest.mark.parametrize("reentrant", [True, False])
def test_under_autocast_recomputing_gives_the_same_gradient(reentrant: bool) -> None:
    net, x = network().float(), images().float()

    def run(z: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return net(z).float()

    def again(z: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return checkpoint(net, z, use_reentrant=reentrant).float()

    plain, found = gradient(net, run, x), gradient(net, again, x)
    assert float((found - plain).norm() / plain.norm()) < 0.01  # bfloat16 has 8 bits


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("context", ["per_sample", "parts", "frozen", "disabled"])
def test_the_contexts_of_the_first_forward_count(context: str, reentrant: bool) -> None:
    """The backward pass may come after the block, or in a thread that does not know of it."""
    net = network()
    within: dict[str, Callable[[], Any]] = {
        "per_sample": lambda: sketching.per_sample(net),
        "parts": lambda: sketching.draws_per_batch(net, 2),
        "frozen": lambda: sketching.frozen(net, seed=5),
        "disabled": lambda: sketching.disabled(net),
    }

    def run(x: Tensor, again: bool = False) -> Tensor:
        with within[context]():
            return checkpoint(net, x, use_reentrant=reentrant) if again else net(x)

    plain = gradient(net, run, images())
    torch.testing.assert_close(gradient(net, lambda x: run(x, True), images()), plain)


def test_draws_go_on_as_without_checkpoints() -> None:
    """A recomputation takes no draw from the stream, and no line in a ledger."""
    net = network()
    gradient(net, net, images())
    expected = net(images())
    with sketching.record(net) as ledger:
        gradient(net, lambda x: checkpoint(net, x, use_reentrant=False), images())
    assert torch.equal(net(images()), expected)
    assert [len(made) for made in ledger.draws.values()] == [1, 1, 1]


def test_the_same_graph_twice_and_two_graphs_at_once() -> None:
    net = network(shared=True)
    sketching.seed(net, 0)
    x = images().requires_grad_()
    first, second = net(x).square().sum(), net(x).square().sum()
    plain = [torch.autograd.grad(y, x, retain_graph=True)[0] for y in (first, second)]
    sketching.seed(net, 0)
    first, second = (checkpoint(net, x, use_reentrant=False).square().sum() for _ in range(2))
    for y, expected in ((second, plain[1]), (first, plain[0]), (first, plain[0])):
        torch.testing.assert_close(torch.autograd.grad(y, x, retain_graph=True)[0], expected)


def test_double_backward() -> None:
    net = network()

    def second(run: Run) -> Tensor:
        sketching.seed(net, 0)
        x = images().requires_grad_()
        (slope,) = torch.autograd.grad(run(x).square().sum(), x, create_graph=True)
        return torch.cat(
            [g.flatten() for g in torch.autograd.grad(slope.square().sum(), net[0].weight.core)]
        )

    plain = second(net)
    torch.testing.assert_close(second(lambda x: checkpoint(net, x, use_reentrant=False)), plain)


def test_a_models_own_switch() -> None:
    def densenet(efficient: bool) -> nn.Module:
        torch.manual_seed(0)
        made = DenseNet(4, (2, 2), 4, bn_size=2, num_classes=3, memory_efficient=efficient)
        return tensorize(made, theta=0.7).double().eval()

    x = images(2, 3, 32, 32)
    plain, switched = densenet(False), densenet(True)
    torch.testing.assert_close(gradient(switched, switched, x), gradient(plain, plain, x))


@pytest.mark.parametrize("reentrant", [True, False])
def test_other_draws(reentrant: bool) -> None:
    last = DropoutLinear(6 * 25, 4, rate=0.4, train_rate=0.2)
    net = nn.Sequential(network()[0], nn.ReLU(), StochasticPruning(), nn.Flatten(), last)
    net = net.double().eval()
    plain = gradient(net, net, images())
    found = gradient(net, lambda x: checkpoint(net, x, use_reentrant=reentrant), images())
    torch.testing.assert_close(found, plain)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("where", ["around", "inside"])
def test_recalibrated_statistics(where: str, reentrant: bool) -> None:
    class Block(nn.Sequential):
        again = False

        def forward(self, x: Tensor) -> Tensor:
            run = super().forward
            return checkpoint(run, x, use_reentrant=reentrant) if self.again else run(x)

    convs = network()
    block = Block(convs[0], DrawBatchNorm2d(6), nn.Tanh(), convs[2])
    net = Recalibrated(nn.Sequential(block, nn.Tanh()), images(8, 6, 5, 5)).double().eval()
    plain = gradient(net, net, images())
    block.again = where == "inside"
    run = (lambda x: checkpoint(net, x, use_reentrant=reentrant)) if where == "around" else net
    torch.testing.assert_close(gradient(net, run, images()), plain)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_around_data_parallel_is_refused(reentrant: bool) -> None:
    """DataParallel copies every module where it is called, and runs the copies in threads."""
    net = nn.Sequential(network()[0], StochasticPruning(), nn.Flatten())

    def parallel(x: Tensor) -> Tensor:
        for module in net.modules():
            module._replicate_for_data_parallel()
        return net(x)

    x = images().requires_grad_()
    parallel(x).sum().backward()
    with sketching.frozen(net, seed=0):
        checkpoint(parallel, x, use_reentrant=reentrant).sum().backward()
    with sketching.disabled(net), torch.no_grad():
        parallel(x)
    for layer in (net, net[1]):
        with pytest.raises(UsageError, match="put the checkpoints into the network"):
            checkpoint(
                lambda x, layer=layer: [m._replicate_for_data_parallel() for m in layer.modules()],
                x,
                use_reentrant=reentrant,
            )
    with torch.autograd.graph.save_on_cpu():  # hooks saved tensors, and runs nothing again
        parallel(x).sum().backward()


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("name", ["identity", "tanh", "tanh075"])
def test_the_sign_gradient_of_the_first_forward_counts(name: str, reentrant: bool) -> None:
    net = binarize(network(), exclude=["0"])

    def run(x: Tensor, again: bool) -> Tensor:
        with sign_gradient(name):
            return checkpoint(net, x, use_reentrant=reentrant) if again else net(x)

    plain = gradient(net, lambda x: run(x, False), images())
    torch.testing.assert_close(gradient(net, lambda x: run(x, True), images()), plain)


def test_a_forward_whose_first_is_not_known_is_refused() -> None:
    net = network()

    def late(_: Tensor) -> None:
        net(images())

    for context in (sketching.frozen(net, seed=0), sketching.disabled(net)):
        with context:
            x = images().requires_grad_()
            x.register_hook(late)
            net(x).sum().backward()
    x = images().requires_grad_()
    x.register_hook(late)
    y = net(x).sum()
    with pytest.raises(UsageError, match="a forward inside a backward pass would meet another"):
        y.backward()

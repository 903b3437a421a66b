"""The floor of what a randomized kernel costs: multiply-adds, ours over the dense layer's.

Of a convolution with kernel [n_0, n_1, k...], K = prod k, at `inputs` and `outputs` positions (the
batch included), and a core [r_0, r_1, r...], R = prod r:

    dense        n_0 n_1 K outputs, once in a forward; once more for the gradient of the input, and
                 once more for that of the kernel
    reconstruct  the same, and core and factors contracted to the kernel:
                 r_0 r_1 K R  (window)  +  r_0 K r_1 n_1 + n_0 r_0 K n_1  (channels);
                 in training each of these products has two gradients of its own size. With fixed
                 weights the window's is kept, and at theta = 1 the kernel
    factorized   n_1 r_1 inputs + r_0 r_1 K outputs + n_0 r_0 outputs in the place of `dense`

The floor takes the cheaper of the two. Elementwise work (BatchNorm, ReLU, masks) is not counted.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from defensive_tensorization.tucker import TuckerConv2d

FORWARD, ATTACK, TRAINING = "forward", "attack step", "training step"
PASSES = {FORWARD: 1, ATTACK: 2, TRAINING: 3}


@dataclass(frozen=True)
class Convolution:
    """What the counts depend on; `first`: no gradient is wanted for its input in training."""

    kernel: tuple[int, ...]
    core: tuple[int, ...]
    inputs: int
    outputs: int
    first: bool = False

    def dense(self, operation: str) -> int:
        """Multiply-adds of the dense layer."""
        passes = PASSES[operation] - (self.first and operation == TRAINING)
        return passes * prod(self.kernel) * self.outputs

    def reconstruct(self, operation: str, theta: float) -> int:
        """Of ours, by way of a dense kernel."""
        (n0, n1, *k), (r0, r1, *r) = self.kernel, self.core
        window, channels = r0 * r1 * prod(k) * prod(r), r0 * prod(k) * n1 * (r1 + n0)
        if operation == TRAINING:
            return self.dense(operation) + 3 * (window + channels)
        return self.dense(operation) + (channels if theta < 1 else 0)

    def factorized(self, operation: str) -> int:
        """Of ours, by three convolutions in a row."""
        (n0, n1, *k), (r0, r1, *r) = self.kernel, self.core
        into, core, out = (
            self.inputs * n1 * r1,
            self.outputs * r0 * r1 * prod(k),
            self.outputs * n0 * r0,
        )
        made = PASSES[operation] * (into + core + out)
        if operation == TRAINING:
            made += 3 * r0 * r1 * prod(k) * prod(r) - (into if self.first else 0)
        return made

    def ours(self, operation: str, theta: float) -> int:
        return min(self.reconstruct(operation, theta), self.factorized(operation))


def floor(layers: Iterable[Convolution], operation: str, theta: float) -> float:
    """Multiply-adds of ours over those of the dense layers, all of them together."""
    every = list(layers)
    ours = sum(each.ours(operation, theta) for each in every)
    return ours / sum(each.dense(operation) for each in every)


def convolutions(net: nn.Module, batch: int) -> dict[str, Convolution]:
    """Of each convolution of ours, by name; `net` is for images [B, 3, 32, 32]."""
    found: dict[str, Convolution] = {}

    def note(name: str) -> Callable[..., None]:
        def after(layer: TuckerConv2d, given: tuple[Tensor], y: Tensor) -> None:
            inputs, outputs = (batch * t.shape[2:].numel() for t in (given[0], y))
            core, kernel = (tuple(s) for s in (layer.weight.core.shape, layer.weight.shape))
            found[name] = Convolution(kernel, core, inputs, outputs, first=not found)

        return after

    layers = [(n, m) for n, m in net.named_modules() if isinstance(m, TuckerConv2d)]
    hooks = [layer.register_forward_hook(note(name)) for name, layer in layers]
    device = next(net.parameters()).device
    mode = net.training
    with torch.no_grad():
        net.eval()(torch.rand(1, 3, 32, 32, device=device))
    net.train(mode)
    for hook in hooks:
        hook.remove()
    return found

"""Audit a stranger's randomized defence: can its robust accuracy be believed?

python examples/audit_a_defence.py --claim 0.45

The model is anybody's: plain PyTorch, noise of its own at every forward, nothing of this package.
"""

import argparse

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import defensive_tensorization as dt
from defensive_tensorization.data import decode, digits

parser = argparse.ArgumentParser()
parser.add_argument("--claim", type=float, default=0.45, help="the robust accuracy claimed, 0 to 1")
parser.add_argument("--batches", type=int, default=300, help="of training")
parser.add_argument("--images", type=int, default=100, help="that are audited")
parser.add_argument("--steps", type=int, default=20, help="of a gradient attack")
asked = parser.parse_args()
torch.manual_seed(0)


class NoisyNet(nn.Module):
    """Random noise hides the gradient of one forward, and calls itself a defence."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 5, stride=2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(32 * 5 * 5, 10)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x + 0.1 * torch.randn_like(x))


task = digits.load(name="digits", unit=1 / 255)
x, y = decode(task.train.inputs), task.train.labels
test = decode(task.test.inputs), task.test.labels

net = NoisyNet()
optimizer = torch.optim.Adam(net.parameters())
for _ in range(asked.batches):
    batch = torch.randint(len(x), (64,))
    optimizer.zero_grad()
    cross_entropy(net(x[batch]), y[batch]).backward()
    optimizer.step()

try:
    report = dt.audit(
        net.eval(),
        test,
        epsilon=16 / 255,
        claim=asked.claim,
        images=asked.images,
        steps=asked.steps,
        samples=5,
        scored=10,
    )
except ValueError as error:  # what the library refuses is one line
    parser.error(str(error))
print(report)

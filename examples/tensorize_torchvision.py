"""Tensorize a torchvision network, fine-tune it, and see what a draw costs.

python examples/tensorize_torchvision.py
"""

import argparse

import torch
import torchvision
from torch.nn.functional import cross_entropy

import defensive_tensorization as dt
from defensive_tensorization.data import decode, digits

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=150, help="batches of each training")
parser.add_argument("--theta", type=float, default=0.9)
asked = parser.parse_args()
if asked.steps < 0 or not 0 < asked.theta <= 1:
    parser.error("--steps must be at least 0, and --theta in (0, 1]")
torch.manual_seed(0)

# Any images in [0, 1] with labels do; these come with scikit-learn.
task = digits.load(name="digits", unit=1 / 255)
x, y = decode(task.train.inputs), task.train.labels
x_test, y_test = decode(task.test.inputs), task.test.labels


def train(net: torch.nn.Module, lr: float) -> None:
    """A few batches of plain training."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    net.train()
    for _ in range(asked.steps):
        batch = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(net: torch.nn.Module) -> float:
    """In percent, of one forward."""
    net.eval()
    return 100 * (net(x_test).argmax(1) == y_test).float().mean().item()


net = torchvision.models.resnet18(num_classes=10)
net.maxpool = torch.nn.Identity()  # 32x32 images are small enough
train(net, lr=0.02)
print(f"dense                      {accuracy(net):.1f}%")

# In place. Without a sketch, theta = 1, it is the same function.
dt.tensorize(net, theta=asked.theta, min_dim=3)
with dt.sketching.disabled(net):
    print(f"tensorized, no sketch      {accuracy(net):.1f}%")
print(f"theta = {asked.theta:g}, not trained   {accuracy(net):.1f}%")

# The optimizer is made after tensorize: it must hold the new parameters. BatchNorm keeps the
# statistics of the dense network (docs/batchnorm.md), so its layers stay in evaluation mode.
for module in net.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
        module.train = lambda mode=True, module=module: module  # type: ignore[method-assign]
train(net, lr=0.005)
draws = ", ".join(f"{accuracy(net):.1f}%" for _ in range(5))
print(f"theta = {asked.theta:g}, fine-tuned    {draws} (five draws)")

with dt.sketching.frozen(net, seed=0):  # one draw, replayed
    assert accuracy(net) == accuracy(net)

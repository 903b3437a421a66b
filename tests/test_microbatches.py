"""A batch in pieces is the step of the whole; where even one example is too much, it says so."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers.fake_task import split, task
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.errors import UsageError
from defensive_tensorization.training.loop import Progress, train
from defensive_tensorization.training.microbatches import gradients, within_memory
from defensive_tensorization.training.schedule import Schedule
from defensive_tensorization.tucker import TuckerConv2d

SCHEDULE = Schedule(epochs=2, batch_size=16, milestones=(), gamma=0.1)


class Small(nn.Module):
    """Holds no more than `fits` examples, from the batch numbered `since` on."""

    def __init__(self, network: nn.Module, fits: int, since: int = 0) -> None:
        super().__init__()
        self.network, self.fits, self.since, self.seen = network, fits, since, [0]

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        made: Tensor = self.network(x)  # what it moved before it failed must be put back
        if len(x) > self.fits and len(self.seen) > self.since:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. More text")
        return made


def network(norm: bool, theta: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    conv = TuckerConv2d.from_conv(nn.Conv2d(3, 6, 3, bias=False), theta, init="random")
    middle = [nn.BatchNorm2d(6)] if norm else []
    return nn.Sequential(conv, *middle, nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4))


def trained(net: nn.Module, **options: Any) -> Progress:
    data = split(64)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return train(net, task(data, data), SCHEDULE, optimizer, 0, **options)


@pytest.mark.parametrize("pieces", [1, 2, 3, 16])
def test_the_gradient_is_that_of_the_whole(pieces: int) -> None:
    net, x, y = network(norm=False), torch.rand(16, 3, 8, 8), torch.randint(4, (16,))
    twin = copy.deepcopy(net)
    expected = F.cross_entropy(twin(x), y)
    expected.backward()
    loss = gradients(lambda a, b: F.cross_entropy(net(a), b), x, y, pieces)
    torch.testing.assert_close(loss, expected.detach())
    for mine, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-6, rtol=1e-4)


def test_training_goes_on_in_pieces_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    small = Small(network(norm=False), fits=5)
    progress = trained(small)
    whole = trained(network(norm=False))
    assert small.seen[1:4] == [16, 8, 4] and set(small.seen[4:]) == {4}
    assert caplog.messages == [
        "out of memory: batches of 16 go through in 2 pieces of 8, gradients added up; "
        "the step stays that of 16, BatchNorm and each sketch see 8",
        "out of memory: batches of 16 go through in 4 pieces of 4, gradients added up; "
        "the step stays that of 16, BatchNorm and each sketch see 4",
    ]
    assert progress.pieces == progress.history[-1]["pieces"] == 4
    assert "pieces" not in whole.history[-1]
    for name, value in whole.network.items():
        found = progress.network[f"network.{name}"]
        torch.testing.assert_close(found, value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("since", [0, 6], ids=["at the first batch", "in the second epoch"])
def test_a_second_try_draws_as_the_first_and_no_statistic_counts_twice(since: int) -> None:
    """BatchNorm and sketch of a batch that failed are those of a network in pieces from then on."""
    failed = Small(network(norm=True, theta=0.7), 8, since)
    found = trained(failed)
    if since:
        assert failed.seen[1:since] == [16] * (since - 1)
        return
    other = Small(network(norm=True, theta=0.7), 99)
    expected = trained(other, resume=Progress(0, other.state_dict(), _fresh(other), pieces=2))
    assert found.network.keys() == expected.network.keys()
    for name, value in expected.network.items():
        assert torch.equal(found.network[name], value), name


def _fresh(net: nn.Module) -> dict[str, Any]:
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9).state_dict()


def test_one_example_is_too_much() -> None:
    with pytest.raises(UsageError) as caught:
        trained(Small(network(norm=False), 0))
    assert str(caught.value) == (
        "the memory of cpu does not hold one example (CUDA out of memory): "
        "take a smaller model.width, a larger device, or train.autocast=bfloat16"
    )


def test_what_cannot_adapt_ends_in_one_line() -> None:
    with (
        pytest.raises(UsageError, match=r"^out of memory \(too much\): take less$"),
        within_memory("take less"),
    ):
        raise torch.OutOfMemoryError("too much. Details")


def test_streams_go_back_to_where_they_were() -> None:
    net = network(norm=False, theta=0.5)
    sketching.seed(net, 3)
    x = torch.rand(2, 3, 8, 8)
    net(x)
    at = sketching.rng_states(net)
    first = [net(x) for _ in range(3)]
    sketching.rewind(net, at, x.device)
    assert all(torch.equal(a, net(x)) for a in first)
    assert not torch.equal(first[0], first[1])
    sketching.rewind(net, {}, x.device)  # not yet begun: from its seed
    again = net(x)
    sketching.seed(net, 3)
    assert torch.equal(net(x), again)

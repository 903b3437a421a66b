"""AutoAttack through its adapter: shape and range, the defence's generators, what is refused."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.attacks.autoattack import Pictured, autoattack
from defensive_tensorization.errors import UsageError
from defensive_tensorization.tucker import TuckerConv2d


@pytest.mark.parametrize(
    ("shape", "bounds", "picture"),
    [((3, 5, 7), (0.0, 1.0), (3, 5, 7)), ((1, 24), (-1.0, 1.0), (1, 4, 6))],
)
def test_a_picture_is_the_input_in_another_shape_and_range(
    shape: tuple[int, ...], bounds: tuple[float, float], picture: tuple[int, ...]
) -> None:
    x = torch.rand(2, *shape) * (bounds[1] - bounds[0]) + bounds[0]
    seen = Pictured(nn.Flatten(), torch.Size(shape), bounds)
    z = seen.picture(x)
    assert z.shape[1:] == picture and 0 <= float(z.min()) <= float(z.max()) <= 1
    torch.testing.assert_close(seen.back(z), x)
    torch.testing.assert_close(seen(z), x.flatten(1))


class Linear(nn.Module):
    """Sounds of 16 samples; the answer is the class whose row of the matrix agrees most."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.head(x.flatten(1))
        return made


def test_it_breaks_a_linear_network_exactly_where_the_margin_says() -> None:
    """Of a sound in [-1, 1]: the margin to a class falls by at most radius * |w_y - w_i|_1."""
    torch.manual_seed(0)
    network, x = Linear().requires_grad_(False), torch.rand(40, 1, 16) - 0.5
    y = network(x).argmax(1)
    attack = autoattack(epsilon=0.05, unit=1.0)
    made = attack(network, x, y, (-1.0, 1.0))
    assert float((made - x).abs().max()) <= 0.05 + 1e-6
    w = network.head.weight
    reach = 0.05 * (w[y][:, None] - w[None]).abs().sum(2)
    lead = network(x).gather(1, y[:, None]) - network(x)
    lead.scatter_(1, y[:, None], torch.inf)
    breakable = (lead < reach - 1e-5).any(1)
    assert 0 < int(breakable.sum()) < 40
    assert torch.equal(network(made).argmax(1) != y, breakable)


def test_the_defence_s_generators_are_out_of_its_reach() -> None:
    """Its attack meets draws that go on differing, and the global state is put back."""
    torch.manual_seed(0)
    conv = TuckerConv2d.from_conv(nn.Conv2d(1, 8, 3), 0.6, init="random")
    network = nn.Sequential(conv, nn.Flatten(), nn.Linear(32, 4)).eval().requires_grad_(False)
    sketching.seed(network, 0)
    x, y = torch.rand(2, 1, 4, 4), torch.tensor([0, 1])
    attack = autoattack(epsilon=0.001, unit=1.0)
    torch.manual_seed(5)
    torch.randint(2**31, ())
    expected = torch.get_rng_state()
    torch.manual_seed(5)
    with sketching.record(network) as ledger:
        attack(network, x, y, (0.0, 1.0))
    assert torch.equal(torch.get_rng_state(), expected)
    made = [str(draw) for draw in next(iter(ledger.to_dict().values()))]
    assert len(set(made)) > len(made) / 4  # of 2^9 masks; a reseeded generator would repeat itself


@pytest.mark.parametrize(
    ("classes", "theta", "expected"), [(10, 1.0, "standard"), (9, 1.0, "rand"), (10, 0.6, "rand")]
)
def test_its_version_follows_the_network(
    classes: int, theta: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = TuckerConv2d.from_conv(nn.Conv2d(1, 8, 3), theta, init="random")
    network = nn.Sequential(conv, nn.Flatten(), nn.Linear(32, classes)).eval().requires_grad_(False)
    asked: list[str] = []

    class Instead:
        def __init__(self, model: nn.Module, *, version: str, **_: object) -> None:
            asked.append(version)
            self.fab = SimpleNamespace()

        def run_standard_evaluation(
            self, x: Tensor, y: Tensor, **_: object
        ) -> tuple[Tensor, Tensor]:
            return x, y

    monkeypatch.setattr("pyautoattack.AutoAttack", Instead)
    attack = autoattack(epsilon=0.1, unit=1.0)
    x, y = torch.rand(2, 1, 4, 4), torch.tensor([0, 1])
    torch.testing.assert_close(attack(network, x, y, (0.0, 1.0)), x)
    assert asked == [expected]


def test_other_versions_classes_and_prime_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match="version must be one of auto, rand, standard, got 'plus'"):
        autoattack(epsilon=8, unit=1 / 255, version="plus")
    x, y = torch.rand(2, 1, 16), torch.tensor([0, 1])
    with pytest.raises(UsageError, match="runs standard, which needs 10 classes, there are 4"):
        autoattack(epsilon=0.1, unit=1.0, version="standard")(Linear(), x, y, (-1.0, 1.0))
    with pytest.raises(UsageError, match="17 samples are a prime number: take clips of another"):
        Pictured(nn.Flatten(), torch.Size((1, 17)), (-1.0, 1.0)).picture(torch.rand(1, 1, 17))

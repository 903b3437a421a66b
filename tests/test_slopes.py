"""Whether a gradient explains the slope: shares known by hand, whole gradients and partial ones."""

import os
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import defensive_tensorization as dt
from defensive_tensorization.auditing import checks, slopes
from defensive_tensorization.auditing.check import Check
from defensive_tensorization.auditing.panel import Saturated
from defensive_tensorization.auditing.strangers import NormalNoise, RandomMember
from defensive_tensorization.auditing.target import AuditTarget, Budget
from defensive_tensorization.auditing.verdict import (
    INCONCLUSIVE,
    MASKED,
    NOT_ROBUST,
    ROBUST,
    verdict,
)
from defensive_tensorization.auditing.whole import Whole
from defensive_tensorization.results.scores import Answers

CLASSES, SIDE, N = 5, 12, 60
LEVELS = 8
ERROR = 0.05 / 12


class Partial(nn.Module):
    """The network, whose gradient misses the pixels that are not seen; the same answers."""

    def __init__(self, network: nn.Module, share: float) -> None:
        super().__init__()
        self.network = network
        made = torch.Generator().manual_seed(3)
        self.seen = (torch.rand(1, 1, SIDE, SIDE, generator=made) < share).float()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(self.seen * x + ((1 - self.seen) * x).detach())
        return logits


class Sixteen(nn.Module):
    """A copy of the network in 16 bits."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = deepcopy(network).to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.to(self.dtype))
        return logits


def relu() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Linear(SIDE**2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES)
    return nn.Sequential(nn.Flatten(), *layers).eval()


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    first = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
    second = nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU()
    network = nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(144, CLASSES))
    for _ in range(20):
        network.train()(images()[0])  # statistics of its own
    return network.eval()


def images(n: int = N) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(1)
    return torch.rand(n, 1, SIDE, SIDE, generator=made), torch.arange(n) % CLASSES


def explained(model: nn.Module, x: Tensor, y: Tensor, levels: float = LEVELS) -> Any:
    of = AuditTarget(Whole(model), x, y, (0.0, 1.0), 1 / 255, CLASSES, len(x))
    return slopes.explained(of, Budget(levels), 0)


def checked(model: nn.Module) -> Check:
    return checks.slope(explained(model, *images()), ERROR)


# --- what is measured ---------------------------------------------------------------------------


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(CLASSES, SIDE**2))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


def test_of_a_linear_network_it_is_the_energy_of_the_weights_that_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """E <w, d>^2 = |w|^2 for random signs d, of whatever weights."""
    monkeypatch.setattr(slopes, "DIRECTIONS", 1500)
    model = Partial(Linear(), 0.6)
    x, y = images(6)
    x = x / 2 + 0.25  # no bound is near
    z = model(x).detach()
    z[torch.arange(6), y] = -torch.inf
    weight = model.network.weight.detach()
    w = (weight[z.argmax(1)] - weight[y]).numpy()  # of the margin
    seen = model.seen.flatten().numpy()
    known = ((w * seen) ** 2).sum(1) / (w**2).sum(1)
    np.testing.assert_allclose(explained(model, x, y), known, atol=0.06)
    assert known.min() > 0.3 and known.max() < 0.8


def test_images_at_the_bounds_are_measured_by_what_they_move() -> None:
    x, y = images()
    assert explained(Linear(), x.round(), y).min() > 0.999


def test_each_image_is_told_by_itself() -> None:
    """And by the draws of its own batch."""

    class Some(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.whole, self.partial = Linear(), Partial(Linear(), 0.1)

        def forward(self, x: Tensor) -> Tensor:
            x = x + 0.01 * torch.randn_like(x)
            hidden = x.flatten(1)[:, :1] > 0.5
            return torch.where(hidden, self.partial(x), self.whole(x))

    x, y = images()
    x = x / 2 + 0.2
    hides = torch.arange(N) % 3 == 0
    x[:, 0, 0, 0] = torch.where(hides, 0.9, 0.1)
    of = AuditTarget(Some(), x, y, (0.0, 1.0), 1 / 255, CLASSES, N, None, 25)
    found = slopes.explained(of, Budget(LEVELS), 0)
    assert found is not None and ((found < checks.EXPLAINED) == hides.numpy()).all()


# --- who passes ---------------------------------------------------------------------------------

TRUTHFUL: dict[str, Callable[[], nn.Module]] = {
    "relu": relu,
    "convolutional": convolutional,
    "large logits": lambda: Saturated(convolutional(), 1e4),
    "small logits": lambda: Saturated(convolutional(), 1e-6),
    "input noise": lambda: NormalNoise(convolutional(), LEVELS / 255),
    "random member": lambda: RandomMember(convolutional()),
    "float16": lambda: Sixteen(convolutional(), torch.float16),
    "bfloat16": lambda: Sixteen(convolutional(), torch.bfloat16),
    "theta 0.9": lambda: dt.tensorize(convolutional(), theta=0.9).eval(),
    "theta 0.8": lambda: dt.tensorize(convolutional(), theta=0.8).eval(),
    "batch statistics": lambda: convolutional().train(),
}


@pytest.mark.parametrize("name", TRUTHFUL)
def test_a_network_that_tells_its_gradient_passes(name: str) -> None:
    found = checked(TRUTHFUL[name]())
    assert found.status == "pass" and found.figures["median"] > 0.95, found.reason
    assert found.hides is not None and found.hides < 0.1, found.reason


@pytest.mark.parametrize("share", [0.7, 0.5, 0.3, 0.2])
@pytest.mark.parametrize("name", ["relu", "convolutional", "input noise", "theta 0.8"])
def test_a_network_that_tells_a_part_of_its_gradient_fails(name: str, share: float) -> None:
    found = checked(Partial(TRUTHFUL[name](), share))
    assert found.status == "fail" and found.figures["median"] < 0.85, found.reason


def test_saturated_answers_are_no_evidence_either_way() -> None:
    """Probabilities of 1 and 0 do not change: no failure, but as much as they may hide."""
    found = checked(nn.Sequential(Saturated(relu(), 1e4), nn.Softmax(1)))
    assert found.status == "pass" and found.hides is not None and found.hides > 0.9
    assert found.figures["flat"] > 0.8 * N and f"{found.figures['flat']} have no slope" in (
        found.reason
    )


# --- what follows -------------------------------------------------------------------------------


def left(right: int) -> dict[str, Answers]:
    each = np.arange(100) < right
    found = Answers(each.astype(int), each, each, np.array([right]))
    return dict.fromkeys(("best", "pgd"), found)


@pytest.mark.parametrize(
    ("right", "claim", "words"),
    [(90, 0.5, MASKED), (50, 0.5, MASKED), (5, 0.5, NOT_ROBUST), (5, None, MASKED)],
)
def test_an_untrue_gradient_that_breaks_the_network_is_no_mask(
    right: int, claim: float | None, words: str
) -> None:
    """As of a straight-through rounding: no true gradient could make the claim true."""
    settings = {"audit.images": 100, "audit.steps": 20, "audit.queries": 100, "audit.draws": 10}
    check = checks.slope(np.zeros(100), ERROR)
    assert check.status == "fail"
    said = verdict([check], left(right), claim, "pgd", settings, {"audit.images": 100})
    assert said.words == words and (words != MASKED or "gradient that is not" in said.reason)


class Untold(Linear):
    """Noise from the operating system."""

    def forward(self, x: Tensor) -> Tensor:
        noise = np.frombuffer(os.urandom(x.numel()), np.uint8).reshape(x.shape) / 255 - 0.5
        return super().forward(x + 1e-3 * torch.as_tensor(noise).to(x))


def test_draws_that_no_seed_controls_keep_robust_from_being_said() -> None:
    x, y = images()
    y = Linear()(x).argmax(1)
    given: dict[str, Any] = {"epsilon": 1e-3, "claim": 0.1, "images": N}
    report = dt.audit(Untold(), (x, y), **given, steps=10, queries=50, samples=5, scored=20)
    [check] = [c for c in report.checks if c.name == "slope"]
    assert check.status == "skipped" and "equal seeds do not give equal draws" in check.reason
    assert report.verdict == INCONCLUSIVE + "it with draws that seeds control", str(report)
    assert report.remedy == {}


def certified(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, epsilon: float) -> NDArray[Any]:
    """Images that no attack takes: w_y x - w_j x > epsilon |w_y - w_j|_1 for all j."""
    w, b, x_ = weight.double().numpy(), bias.double().numpy(), x.flatten(1).double().numpy()
    z = x_ @ w.T + b
    margin = z[np.arange(len(y)), y.numpy()][:, None] - z
    need = epsilon * np.abs(w[y.numpy()][:, None] - w[None]).sum(2)
    beaten = margin <= need
    beaten[np.arange(len(y)), y.numpy()] = False
    return ~beaten.any(1)


@pytest.mark.parametrize(("share", "words"), [(0.7, MASKED), (0.5, MASKED), (1.0, NOT_ROBUST)])
def test_a_network_that_keeps_nothing_is_not_called_robust_for_half_a_gradient(
    share: float, words: str
) -> None:
    """At the default budget no other check sees it: 100 queries without gradients find nothing."""
    torch.manual_seed(0)
    centres = 0.5 + 0.1 * (torch.rand(CLASSES, SIDE**2) - 0.5).sign()
    y = torch.randint(CLASSES, (N,))
    x = (centres[y] + 0.02 * torch.randn(N, SIDE**2)).clamp(0, 1).view(-1, 1, SIDE, SIDE)
    last = nn.Linear(SIDE**2, CLASSES)
    last.weight.data = 20 * (centres - 0.5)
    last.bias.data = -20 * ((centres - 0.5) * 0.5).sum(1)
    assert not certified(last.weight.data, last.bias.data, x, y, 0.12).any()
    assert certified(last.weight.data, last.bias.data, x, y, 0.02).all()
    model = Partial(nn.Sequential(nn.Flatten(), last), share)
    report = dt.audit(model, (x, y), epsilon=0.12, claim=0.5)
    assert report.verdict == words, str(report)
    failed = [c.name for c in report.checks if c.status == "fail"]
    assert failed == (["slope"] if share < 1 else [])
    if share == 1:
        assert dt.audit(model, (x, y), epsilon=0.02, claim=0.5).verdict == ROBUST

"""Averaging attacks: on a deterministic network those of others; on a random one, true averages."""

from collections.abc import Callable
from itertools import chain, cycle
from typing import Any

import pytest
import torch
from helpers.toy_images import AUDIO, CLASSES, IMAGES, UNIT, batch, curved
from torch import Tensor, nn

import defensive_tensorization as dt
from defensive_tensorization import sketching
from defensive_tensorization.attacks import Attack
from defensive_tensorization.attacks.auto_pgd import checkpoints
from defensive_tensorization.attacks.batching import batching_note, most_together
from defensive_tensorization.attacks.expectation import (
    AVERAGES,
    Expectation,
    cross_entropy,
    dlr,
    margin,
)
from defensive_tensorization.attacks.in_units import apgd, eot_pgd, pgd, square
from defensive_tensorization.attacks.search import Best
from defensive_tensorization.attacks.square_windows import share, windows
from defensive_tensorization.errors import UsageError
from defensive_tensorization.models.batchnorm import DrawBatchNorm2d, Recalibrated
from defensive_tensorization.sketching import Ledger
from defensive_tensorization.tucker import TuckerConv2d

MAKERS = [
    eot_pgd,
    lambda **o: apgd(**{"steps": 12} | o),
    lambda **o: apgd(**{"steps": 12, "loss": "dlr"} | o),
    lambda **o: square(**{"steps": 25} | o),
]
NAMES = ["eot_pgd", "apgd_ce", "apgd_dlr", "square"]
each_attack = pytest.mark.parametrize("make", MAKERS, ids=NAMES)


def randomized(theta: float = 0.6, min_dim: int = 3) -> nn.Module:
    torch.manual_seed(0)
    conv = TuckerConv2d.from_conv(nn.Conv2d(2, 8, 3), theta, init="random", min_dim=min_dim)
    model = nn.Sequential(conv, nn.Tanh(), nn.Flatten(), nn.Linear(32, CLASSES))
    sketching.seed(model, 0)
    return model.eval().requires_grad_(False)


def run(attack: Attack, model: nn.Module, bounds: tuple[float, float] = IMAGES) -> Tensor:
    torch.manual_seed(4)
    return attack(model, *batch(bounds), bounds)


# --- on a deterministic network -----------------------------------------------------------------


@pytest.mark.parametrize("bounds", [IMAGES, AUDIO])
@pytest.mark.parametrize("average", AVERAGES)
def test_pgd_is_foolbox_s(average: str, bounds: tuple[float, float]) -> None:
    ours = eot_pgd(epsilon=8, unit=UNIT, draws=7, average=average, keep="last")
    found, expected = run(ours, curved(), bounds), run(pgd(epsilon=8, unit=UNIT), curved(), bounds)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@each_attack
@pytest.mark.parametrize("average", AVERAGES)
def test_where_nothing_is_random_k_changes_nothing(
    make: Callable[..., Attack], average: str
) -> None:
    """Bit for bit: draws that cannot differ are not made. Nor does what is averaged matter."""
    found = [
        run(make(epsilon=8, unit=UNIT, draws=k, average=average), curved()) for k in (1, 2, 20)
    ]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("k", [3, 8])
def test_equal_draws_average_to_one(average: str, k: int) -> None:
    x, y = batch()
    one = Expectation(curved(), x, cross_entropy, average=average)(x, y)
    asked = Expectation(curved(), x, cross_entropy, average=average)
    asked.draws = k  # in spite of the model's being deterministic
    many = asked(x, y)
    assert one.gradient is not None and many.gradient is not None
    torch.testing.assert_close(many.loss, one.loss, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(many.gradient, one.gradient, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(many.right, one.right)


@pytest.mark.parametrize("context", ["frozen", "disabled"])
def test_a_held_draw_is_met_once(context: str) -> None:
    model, x = randomized(), batch()[0]
    held = {
        "frozen": lambda: sketching.frozen(model, seed=3),
        "disabled": lambda: sketching.disabled(model),
    }
    with held[context]():
        assert Expectation(model, x, cross_entropy, draws=9).draws == 1
    assert Expectation(model, x, cross_entropy, draws=9).draws == 9
    noisy = nn.Sequential(nn.Flatten(), nn.Dropout(0.5).train())
    assert Expectation(noisy, x, cross_entropy, draws=9).draws == 9


# --- on a random one ----------------------------------------------------------------------------


def by_hand(average: str, z: Tensor, y: Tensor) -> Tensor:
    """z [K, B, C] to the loss [B]."""
    if average in ("gradient", "loss"):
        return torch.stack(
            [nn.functional.cross_entropy(each, y, reduction="none") for each in z]
        ).mean(0)
    p = z.mean(0).softmax(1) if average == "logit" else z.softmax(2).mean(0)
    return -p[torch.arange(len(y)), y].log()


def single(masks: Any) -> list[Any]:
    """The draws of a forward's parts, one by one."""
    if masks is None or all(m is None or m.ndim == 1 for m in masks):
        return [masks]
    count = next(len(m) for m in masks if m is not None)
    return [tuple(m if m is None else m[i] for m in masks) for i in range(count)]


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("together", [1, 2, 5])
def test_averages_by_hand(average: str, together: int) -> None:
    """The very draws are recorded and replayed one by one."""
    model, (x, y) = randomized(), batch()
    asked = Expectation(model, x, cross_entropy, draws=5, average=average, together=together)
    with sketching.record(model) as ledger:
        made = asked(x, y)
    (drawn,) = ledger.draws.values()
    assert len(drawn) == {1: 5, 2: 3, 5: 1}[together]
    one_by_one = {name: list(chain(*map(single, made))) for name, made in ledger.draws.items()}
    leaf = x.clone().requires_grad_()
    with sketching.replay(model, Ledger(one_by_one)):
        z = torch.stack([model(leaf) for _ in range(5)])
    loss = by_hand(average, z, y)
    if average == "gradient":
        of_draws = [
            torch.autograd.grad(by_hand("loss", each[None], y).sum(), leaf, retain_graph=True)
            for each in z
        ]
        gradient = (
            sum(
                (g / g.abs().sum((1, 2, 3), keepdim=True) for (g,) in of_draws), torch.zeros_like(x)
            )
            / 5
        )
    else:
        (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    assert made.gradient is not None
    torch.testing.assert_close(made.loss, loss.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(made.gradient, gradient, atol=1e-5, rtol=1e-4)
    right = (z.argmax(2) == y).float().mean(0)
    if average in ("gradient", "loss"):
        torch.testing.assert_close(made.right, right)
    else:
        assert set(made.right.tolist()) <= {0.0, 1.0}
    if average == "majority":
        votes = [each.bincount(minlength=CLASSES).tolist() for each in z.argmax(2).T]
        most = [v.count(max(v)) == 1 and v[i] == max(v) for v, i in zip(votes, y, strict=True)]
        assert made.right.tolist() == most


def test_a_vote_is_judged_by_what_it_counts() -> None:
    """Three draws of which two are right by a little and one is wrong by much, and a tie of two."""
    logits = [[[1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]], [[0.0, 9.0, 0.0]]]

    def right(average: str, drawn: list[list[list[float]]]) -> float:
        met = cycle(map(torch.tensor, drawn))
        model = nn.Sequential(nn.Flatten())
        model.register_forward_hook(lambda module, args, z: z * 0 + next(met))
        asked = Expectation(model, torch.zeros(1, 3, 1, 1), margin, average=average)
        asked.draws = len(drawn)
        return float(asked(torch.zeros(1, 3, 1, 1), torch.tensor([0])).right)

    names = ("loss", "majority", "probability", "logit")
    assert [right(name, logits) for name in names] == [pytest.approx(2 / 3), 1, 0, 0]
    assert [right(name, logits[1:]) for name in names] == [0.5, 0, 0, 0]


def test_one_draw_with_a_huge_gradient_outvotes_the_others_or_not() -> None:
    """Three draws of slope 1, one of slope -1000, and one that is blind."""
    slopes = [1.0, -1000.0, 1.0, 0.0, 1.0]

    def directions(average: str) -> Tensor:
        met = cycle(slopes)
        model = nn.Sequential(nn.Flatten())
        model.register_forward_hook(lambda module, args, z: next(met) * z)
        x, y = torch.full((2, 3, 1, 1), 0.5), torch.tensor([0, 2])
        asked = Expectation(model, x, margin, average=average)
        asked.draws = len(slopes)
        found = asked(x, y).gradient
        assert found is not None
        return found[:, :, 0, 0]

    torch.testing.assert_close(directions("gradient").sum(1), torch.zeros(2))
    own = directions("gradient")[range(2), [0, 2]]
    torch.testing.assert_close(own, torch.full((2,), (-3 + 1) * 0.5 / 5))
    torch.testing.assert_close(directions("loss")[range(2), [0, 2]], torch.full((2,), 997 / 5))


def test_batched_and_looped_draws_have_one_expectation() -> None:
    model, (x, y) = randomized(), batch()
    losses = []
    for together in (1, 100):
        asked = Expectation(model, x, cross_entropy, draws=300, together=together)
        losses.append(asked(x, y, gradient=False).loss)
    assert asked(x, y, gradient=False).gradient is None
    torch.testing.assert_close(losses[0], losses[1], atol=0.1, rtol=0)


def test_many_draws_are_split_into_passes() -> None:
    sizes: list[int] = []
    model, (x, y) = randomized(), batch()
    model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    Expectation(model, x, cross_entropy, draws=400, together=150)(x, y)
    assert sizes == [150 * len(x), 150 * len(x), 100 * len(x)]


def test_the_way_is_chosen_by_the_device_and_the_network() -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    model = randomized()
    assert [most_together(model, 16, each) for each in (gpu, cpu)] == [64, 12]
    assert [most_together(model, 400, each) for each in (gpu, cpu)] == [2, 1]
    assert [most_together(model, size, cpu) for size in (20, 21)] == [10, 1]
    assert most_together(model, 2000, gpu) == 1
    assert batching_note(model, 16, gpu) == "batched, up to 64 at a time"
    assert batching_note(model, 200, cpu) == "in a loop"
    assert most_together(randomized(min_dim=1), 16, gpu) == 1  # its window is sketched too
    assert most_together(dt.binarize(randomized(), exclude=[]), 16, gpu) == 1
    assert most_together(Recalibrated(model, batch()[0]), 16, gpu) == 64
    assert most_together(nn.Sequential(model, DrawBatchNorm2d(2, "batch")), 16, gpu) == 1
    assert most_together(nn.Sequential(model, DrawBatchNorm2d(2, "running")), 16, gpu) == 64
    with sketching.frozen(model, seed=0):
        assert most_together(model, 16, gpu) == 1


@each_attack
def test_every_question_is_asked_of_k_draws(make: Callable[..., Attack]) -> None:
    model = randomized(min_dim=1)
    counts = []
    for k in (1, 4):
        with sketching.record(model) as ledger:
            run(make(epsilon=8, unit=UNIT, draws=k), model)
        (made,) = ledger.draws.values()
        drawn = list(chain(*map(single, made)))
        assert len({str(each) for each in drawn}) > 0.9 * len(drawn)
        counts.append(len(drawn))
    assert counts[1] == 4 * counts[0]


def test_averaging_beats_a_single_draw() -> None:
    """Many draws, judged on fresh ones: a higher expected loss than K = 1 reaches."""
    model, (x, y) = randomized(0.5), batch()
    reached = []
    for k in (1, 10):
        attacked = run(eot_pgd(epsilon=32, unit=UNIT, step_size=4, draws=k, keep="last"), model)
        judge = Expectation(model, x, cross_entropy, draws=200)
        reached.append(judge(attacked, y, gradient=False).loss.mean())
    assert reached[1] > reached[0]


# --- the parts ----------------------------------------------------------------------------------


@each_attack
@pytest.mark.parametrize("bounds", [IMAGES, AUDIO])
def test_stays_in_the_ball_and_the_bounds(
    make: Callable[..., Attack], bounds: tuple[float, float]
) -> None:
    x, y = batch(bounds)
    model = randomized()
    attacked = run(make(epsilon=16, unit=UNIT, draws=6, restarts=2), model, bounds)
    assert float((attacked - x).abs().max()) <= 16 / 255 + 1e-6
    assert float(attacked.min()) >= bounds[0] and float(attacked.max()) <= bounds[1]
    assert not attacked.requires_grad
    with sketching.disabled(model), torch.no_grad():  # on one network, its own loss rises
        sure = make(epsilon=16, unit=UNIT, draws=6, restarts=2)
        loss = {"apgd_dlr": dlr, "square": margin}.get(sure.name, cross_entropy)
        before, after = loss(model(x), y), loss(model(run(sure, model, bounds)), y)
    assert (after > before - 1e-6).all() and after.mean() > before.mean()  # DLR has plateaus


@each_attack
def test_restarts_only_help(make: Callable[..., Attack]) -> None:
    y = batch()[1]
    merit = []
    for restarts in (1, 6):
        z = curved()(run(make(epsilon=4, unit=UNIT, restarts=restarts), curved()))
        merit.append((z.argmax(1) == y).float().mean())
    assert merit[1] <= merit[0]


@each_attack
def test_clips_are_attacked_as_images_are(make: Callable[..., Attack]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 6, 5), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 60, 4))
    model.eval().requires_grad_(False)
    x, y = torch.rand(5, 1, 64) * 2 - 1, torch.arange(5) % 4
    attacked = make(epsilon=0.1, unit=1)(model, x, y, AUDIO)
    assert attacked.shape == x.shape and float((attacked - x).abs().max()) <= 0.1 + 1e-6
    assert cross_entropy(model(attacked), y).mean() > cross_entropy(model(x), y).mean()


def test_best_prefers_few_right_draws_then_a_high_loss() -> None:
    from defensive_tensorization.attacks.expectation import Estimate

    best = Best(torch.zeros(3, 1))
    best.offer(torch.ones(3, 1), Estimate(torch.tensor([1.0, 1, 1]), torch.tensor([0.5, 0.5, 0.5])))
    best.offer(
        2 * torch.ones(3, 1), Estimate(torch.tensor([9.0, 0, 2]), torch.tensor([0.6, 0.4, 0.5]))
    )
    assert best.x.flatten().tolist() == [1, 2, 2]
    assert best.loss.tolist() == [1, 0, 2]


def test_objectives_by_hand() -> None:
    z, y = torch.tensor([[3.0, 1.0, 0.0, -2.0], [1.0, 4.0, 2.0, 0.0]]), torch.tensor([0, 2])
    torch.testing.assert_close(margin(z, y), torch.tensor([-2.0, 2.0]))
    torch.testing.assert_close(dlr(z, y), torch.tensor([-2 / 3, 2 / 3]))
    torch.testing.assert_close(dlr(10 * z + 5, y), dlr(z, y))
    with pytest.raises(UsageError, match="needs 3 classes, got 2: take loss=ce"):
        dlr(z[:, :2], y)


# --- Auto-PGD -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (100, [22, 41, 57, 70, 80, 87, 93, 99]),  # p_j of the paper times 100
        (20, [4, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]),
        (1, [1]),
    ],
)
def test_apgd_s_checkpoints_are_those_of_its_paper(steps: int, expected: list[int]) -> None:
    assert checkpoints(steps) == expected


def reference(
    model: nn.Module, x: Tensor, y: Tensor, start: Tensor, radius: float, steps: int
) -> Tensor:
    """Algorithm 1 for a single image, scalar by scalar, with its trail kept whole."""

    def at(point: Tensor) -> tuple[float, Tensor]:
        point = point.clone().requires_grad_()
        loss = nn.functional.cross_entropy(model(point), y)
        return float(loss.detach()), torch.autograd.grad(loss, point)[0]

    def into(point: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(point, x - radius), x + radius).clamp(0, 1)

    eta, trail, f, g = 2 * radius, [start], [], []
    judged, last, halved = checkpoints(steps), 0, False
    value, slope = at(start)
    f.append(value)
    g.append(slope)
    seen = [(value, start, slope)]
    bests = [value]
    rises = 0
    for k in range(steps):
        z = into(trail[k] + eta * g[k].sign())
        if k == 0:
            new = z
        else:
            new = into(trail[k] + 0.75 * (z - trail[k]) + 0.25 * (trail[k] - trail[k - 1]))
        value, slope = at(new)
        seen.append((value, new, slope))
        rises += value > f[k]
        trail.append(new), f.append(value), g.append(slope)
        top = max(seen, key=lambda each: each[0])
        if k + 1 in judged:
            halve = rises <= 0.75 * (k + 1 - last) or (not halved and bests[-1] >= top[0])
            if halve:
                eta /= 2
                f[-1], trail[-1], g[-1] = top
            halved, last, rises = halve, k + 1, 0
            bests.append(top[0])
    wrong = [s for s in seen if int(model(s[1]).argmax()) != int(y)]
    return max(wrong or seen, key=lambda each: each[0])[1]


@pytest.mark.parametrize("steps", [5, 40])
def test_apgd_is_algorithm_1(steps: int) -> None:
    model, (x, y) = curved().double(), batch()
    x = x.double()  # where gradients vanish float32 knows no sign
    torch.manual_seed(4)
    found = apgd(epsilon=12, unit=UNIT, steps=steps, draws=3)(model, x, y, IMAGES)
    torch.manual_seed(4)
    start = (x + (torch.rand_like(x) * 2 - 1) * 12 / 255).clamp(0, 1)
    for i in range(len(x)):
        one = slice(i, i + 1)
        expected = reference(model, x[one], y[one], start[one], 12 / 255, steps)
        torch.testing.assert_close(found[one], expected, atol=1e-5, rtol=0)


# --- Square -------------------------------------------------------------------------------------


def test_the_window_shrinks_as_published() -> None:
    at = [0, 10, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001]
    halvings = [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [share(step, 10_000, 0.8) for step in at] == [0.8 / 2**n for n in halvings]
    assert share(500, 1000, 0.8) == share(5000, 10_000, 0.8)


@pytest.mark.parametrize(("shape", "side"), [((40, 3, 10, 10), (5, 5)), ((40, 1, 64), (16,))])
def test_windows_are_anywhere_and_of_their_size(
    shape: tuple[int, ...], side: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    made = windows(torch.zeros(shape), 0.25)
    assert made.shape == (40, 1, *shape[2:])
    for mask in made[:, 0]:
        places = mask.nonzero()
        assert tuple((places.amax(0) - places.amin(0) + 1).tolist()) == side
        assert len(places) == torch.tensor(side).prod()
    assert len({str(mask.nonzero()[0].tolist()) for mask in made[:, 0]}) > 5
    assert windows(torch.zeros(2, 1, 4, 4), 1e-6).sum() == 2  # never empty


class Blurred(nn.Module):
    """The margin of a curved network, and one noise for a whole batch, from a private stream."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.network, self.size = curved(), size
        self.stream = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        noise = self.size * torch.randn(1, generator=self.stream)
        return self.network(x) + noise * nn.functional.one_hot(
            batch()[1].repeat(2)[: len(x)], CLASSES
        )


def test_square_accepts_what_is_better_under_the_same_draws() -> None:
    """A noise that all share decides nothing: the path is the noiseless network's, bit for bit.

    Held against its own luckiest estimate an incumbent would stand nearly for ever.
    """
    attack = square(epsilon=16, unit=UNIT, steps=60, draws=2)
    found = [run(attack, Blurred(size)) for size in (0.0, 3.0)]
    assert torch.equal(found[0], found[1])


def test_square_asks_for_no_gradient() -> None:
    class Hard(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert not torch.is_grad_enabled()
            return x.flatten(1)[:, :CLASSES].round()

    run(square(epsilon=64, unit=UNIT, steps=5), Hard().eval())


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (eot_pgd, {"draws": 0}, "attack.eot_pgd.draws must be at least 1, got 0"),
        (eot_pgd, {"restarts": 0}, "attack.eot_pgd.restarts must be at least 1, got 0"),
        (eot_pgd, {"keep": "all"}, "attack.eot_pgd.keep must be one of best, last, got 'all'"),
        (apgd, {"loss": "cw"}, "attack.apgd.loss must be one of ce, dlr, got 'cw'"),
        (apgd, {"steps": 0}, "attack.apgd_ce.steps must be at least 1, got 0"),
        (square, {"p": 0}, "attack.square.p must be a positive number"),
        (
            square,
            {"average": "x"},
            "attack.square.average must be one of gradient, loss, probability, majority, "
            "logit, got 'x'",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused(
    make: Callable[..., Attack], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        make(epsilon=8, unit=UNIT, **options)
    assert message in str(error.value)

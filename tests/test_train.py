"""Training: the printed schedule, augmentation image by image, and resuming bit for bit."""

import copy
import signal
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.fake_task import split, task
from scipy.stats import binomtest
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from defensive_tensorization import sketching
from defensive_tensorization.attacks.training import pgd_training
from defensive_tensorization.data import Split
from defensive_tensorization.errors import UsageError
from defensive_tensorization.models.batchnorm import DrawBatchNorm2d
from defensive_tensorization.system import signals
from defensive_tensorization.training import checkpoint
from defensive_tensorization.training.batches import batches
from defensive_tensorization.training.loop import Progress, train
from defensive_tensorization.training.schedule import Schedule
from defensive_tensorization.tucker import TuckerConv2d


def schedule(**options: Any) -> Schedule:
    base: dict[str, Any] = {"epochs": 4, "batch_size": 16, "milestones": (0.5,), "gamma": 0.1}
    return Schedule(**base | options)


def network(theta: float, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    conv = TuckerConv2d.from_conv(nn.Conv2d(3, 8, 3, bias=False), theta, init="random")
    head = nn.Linear(8, 4)
    norm = DrawBatchNorm2d(8)
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(conv, norm, nn.ReLU(), nn.Dropout(0.2), pool, nn.Flatten(), head)


def sgd(net: nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)


# --- learning rate ----------------------------------------------------------------------------

PRINTED = schedule(epochs=350, milestones=(150 / 350, 250 / 350))


def test_the_printed_schedule() -> None:
    """Starting at 0.1, dropped by a factor of 0.1 at epoch 150 and at epoch 250."""
    for epoch in range(350):
        expected = 0.1 if epoch < 150 else 0.01 if epoch < 250 else 0.001
        for share in (0, 0.5, 389 / 390):
            assert 0.1 * PRINTED.factor(epoch + share) == pytest.approx(expected), epoch


def test_warmup_rises_in_a_straight_line() -> None:
    rising = schedule(epochs=10, warmup=0.2, milestones=(0.5, 0.9))
    found = [rising.factor(e) for e in (0, 0.5, 1, 2, 4.99, 5, 8.9, 9, 9.99)]
    assert found == pytest.approx([0, 0.25, 0.5, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_a_straight_line_to_zero() -> None:
    """A triangle: up over 2 of 10 epochs, down over 8."""
    line = schedule(epochs=10, warmup=0.2, decay="linear", milestones=(0.5, 0.9))
    found = [line.factor(e) for e in (0, 1, 2, 4, 6, 9.5, 10)]
    assert found == pytest.approx([0, 0.5, 1, 0.75, 0.5, 0.0625, 0])
    assert schedule(epochs=4, decay="linear").factor(1) == pytest.approx(0.75)


def test_training_follows_the_schedule() -> None:
    net = network(1)
    optimizer, rates = sgd(net), []
    step = optimizer.step
    optimizer.step = lambda: rates.append(optimizer.param_groups[0]["lr"]) or step()  # type: ignore
    data = split(64)
    seven = schedule(epochs=7, milestones=(3 / 7, 5 / 7))
    progress = train(net, task(data, data), seven, optimizer, 0)
    assert rates == pytest.approx([0.1] * 12 + [0.01] * 8 + [0.001] * 8)
    assert [e["lr"] for e in progress.history] == pytest.approx(
        [0.1] * 3 + [0.01] * 2 + [0.001] * 2
    )
    assert [e["epoch"] for e in progress.history] == [1, 2, 3, 4, 5, 6, 7]


# --- batches ----------------------------------------------------------------------------------


def epoch(data: Split, seed: int = 0, flip: bool = False, **options: Any) -> list[tuple[Any, Any]]:
    order = torch.Generator().manual_seed(seed)
    return list(batches(data, flip, schedule(**options), order))


def found(image: Tensor, data: Split) -> int:
    """Which stored image this is, mirrored or not; images are random, so there is only one."""
    stored = data.inputs.float() / 255
    same = (stored == image).flatten(1).all(1) | (stored.flip(-1) == image).flatten(1).all(1)
    (index,) = same.nonzero().flatten().tolist()
    return int(index)


def test_batches_are_the_data_in_random_order() -> None:
    data = split(70)
    made = epoch(data)
    assert [len(x) for x, _ in made] == [16] * 4
    seen = [found(image, data) for x, _ in made for image in x]
    assert len(set(seen)) == 64
    assert torch.equal(torch.cat([y for _, y in made]), data.labels[seen])
    assert seen != sorted(seen)
    assert [found(image, data) for x, _ in epoch(data, seed=1) for image in x] != seen
    stored = data.inputs[seen].float() / 255
    assert torch.equal(torch.cat([x for x, _ in made]), stored)


def test_fewer_images_than_a_batch() -> None:
    ((x, y),) = epoch(split(5))
    assert len(x) == len(y) == 5


def test_flips_are_drawn_for_each_image() -> None:
    data, mirrored = split(320), []
    for x, y in epoch(data, flip=True, batch_size=64):
        flips = []
        for image, label in zip(x, y, strict=True):
            index = found(image, data)
            assert data.labels[index] == label
            flips.append(not torch.equal(image, data.inputs[index].float() / 255))
        assert 0 < sum(flips) < len(flips), "one flip for the whole batch"
        mirrored += flips
    assert binomtest(sum(mirrored), len(mirrored), 0.5).pvalue > 1e-6


@pytest.mark.parametrize("flip", [False, True])
def test_crops_are_drawn_for_each_image(flip: bool) -> None:
    """Every image is a window of its own zero-padded original; offsets found by a loop."""
    data, padding, offsets = split(160), 2, []
    plain = epoch(data, flip=flip, batch_size=80)
    for (x, y), (cropped, labels) in zip(
        plain, epoch(data, flip=flip, batch_size=80, crop=padding), strict=True
    ):
        assert cropped.shape == x.shape
        if not flip:
            assert torch.equal(y, labels)
        for image in cropped:
            offsets.append(offset(image.numpy(), data, padding))
    assert {dy for dy, _ in offsets} == {dx for _, dx in offsets} == set(range(2 * padding + 1))
    assert len({*offsets[:80]}) > 10, "one offset for the whole batch"


def offset(image: np.ndarray, data: Split, padding: int) -> tuple[int, int]:
    stored = data.inputs.numpy().astype(np.float32) / 255
    h, w = image.shape[1:]
    for source in (stored, stored[..., ::-1]):
        padded = np.pad(source, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
        for dy in range(2 * padding + 1):
            for dx in range(2 * padding + 1):
                windows = padded[:, :, dy : dy + h, dx : dx + w]
                if np.isclose(windows, image, atol=1e-6).all(axis=(1, 2, 3)).any():
                    return dy, dx
    raise AssertionError("no window of any padded image")


def test_no_flips_where_a_flip_changes_the_label() -> None:
    data = split(64)
    stored = {tuple(i.flatten().tolist()) for i in data.inputs.float() / 255}
    for x, _ in epoch(data, flip=False):
        assert {tuple(image.flatten().tolist()) for image in x} <= stored


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for a device: values read, shapes that depend on values."""

    names = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "is_nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = "index" in str(func) and any(
            isinstance(i, Tensor) and i.dtype == torch.bool for i in tree_leaves(args[1:])
        )
        self.count += by_mask or any(name in str(func) for name in self.names)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("theta", [1.0, 0.7])
def test_the_host_waits_for_the_device_at_the_end_of_an_epoch_alone(theta: float) -> None:
    """For its loss and to check its weights: as often, however many steps it has."""
    waits = []
    for steps in (2, 6):
        data, net = split(16 * steps), network(theta)
        with Waits() as found:
            train(net, task(data, data, flip=True), schedule(epochs=1, crop=1), sgd(net), 0)
        waits.append(found.count)
    assert 0 < waits[0] == waits[1]
    with Waits() as found:
        float(torch.ones(())), torch.ones(3)[torch.ones(3) > 0]
    assert found.count == 2


def test_a_subset_is_fixed() -> None:
    data, seen = split(60), []
    net = network(1)
    net.register_forward_pre_hook(lambda m, inputs: seen.extend(inputs[0]))
    train(net, task(data, data), schedule(epochs=3, images=16), sgd(net), 0)
    assert len(seen) == 48
    assert len({found(image, data) for image in seen}) == 16
    for wrong in (0, 61):
        with pytest.raises(UsageError, match=f"train.images must lie in 1..60, got {wrong}"):
            train(net, task(data, data), schedule(images=wrong), sgd(net), 0)


# --- resuming ---------------------------------------------------------------------------------


class Killed(Exception):
    pass


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b)


def without_seconds(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if k != "seconds"} for line in history]


@pytest.mark.parametrize("theta", [1.0, 0.7])
@pytest.mark.parametrize("after", [1, 3])
def test_killed_and_resumed_equals_uninterrupted(theta: float, after: int, tmp_path: Path) -> None:
    data = split(80)
    whole_task = task(data, split(20, seed=1), flip=True)
    plan = schedule(epochs=4, crop=1, warmup=0.1)
    path = tmp_path / "run.pt"

    def run(
        net: nn.Module, resume: Progress | None = None, killed_after: int | None = None
    ) -> Progress:
        def keep(now: Progress) -> None:
            checkpoint.save(path, {"fingerprint": "f", "progress": vars(now)})
            if now.epoch == killed_after:
                raise Killed

        def validate() -> float:  # draws from every stream there is
            return float(copy.deepcopy(net)(torch.rand(4, 3, 8, 8)).detach().sum())

        return train(
            net,
            whole_task,
            plan,
            sgd(net),
            7,
            resume=resume,
            after_epoch=keep,
            validate=validate,
        )

    uninterrupted = run(network(theta))
    with pytest.raises(Killed):
        run(network(theta), killed_after=after)
    state = checkpoint.load(path, "f")
    assert state is not None and state["progress"]["epoch"] == after
    torch.manual_seed(99)  # another process: other random states, other initial weights
    resumed = run(network(theta, seed=5), resume=Progress(**state["progress"]))
    assert resumed.epoch == uninterrupted.epoch == 4
    assert equal(resumed.network, uninterrupted.network)
    assert equal(resumed.optimizer, uninterrupted.optimizer)
    assert without_seconds(resumed.history) == without_seconds(uninterrupted.history)


def test_a_finished_training_is_not_continued() -> None:
    data, net = split(32), network(0.7)
    done = train(net, task(data, data), schedule(epochs=2), sgd(net), 0)
    before = copy.deepcopy(net.state_dict())
    again = train(net, task(data, data), schedule(epochs=2), sgd(net), 0, resume=done)
    assert again.epoch == 2 and equal(net.state_dict(), before)


def test_the_seed_decides_everything() -> None:
    data = split(64)

    def run(seed: int, theta: float = 0.7) -> dict[str, Tensor]:
        net = network(theta)
        return train(net, task(data, data, flip=True), schedule(epochs=1), sgd(net), seed).network

    first = run(0)
    assert equal(first, run(0))
    assert not equal(first, run(1))


def test_epochs_have_draws_of_their_own() -> None:
    data, net = split(32), network(0.7)
    with sketching.record(net) as ledger:
        train(net, task(data, data), schedule(epochs=3), sgd(net), 0)
    (draws,) = ledger.to_dict().values()
    assert len(draws) == 6 == len({str(draw) for draw in draws})


def test_epochs_have_orders_of_their_own() -> None:
    data, net, seen = split(32), network(1), []
    net.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0]))
    train(net, task(data, data), schedule(epochs=2, batch_size=32), sgd(net), 0)
    orders = [[found(image, data) for image in x] for x in seen]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(32))
    assert orders[0] != orders[1]


def test_it_learns() -> None:
    """Classes told apart by brightness; the loss is the mean over the epoch's batches."""
    data = split(128)
    bright = Split((data.inputs // 4 + 48 * data.labels.view(-1, 1, 1, 1)).byte(), data.labels)
    net = network(1)
    progress = train(net, task(bright, bright), schedule(epochs=10), sgd(net), 0)
    losses = [line["loss"] for line in progress.history]
    assert losses[0] > losses[-1] and losses[-1] < 0.9


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number(broken: float) -> None:
    data, net, kept = split(32), network(1), []
    with torch.no_grad():
        net[-1].bias[0] = broken
    with pytest.raises(UsageError) as error:
        train(net, task(data, data), schedule(), sgd(net), 0, after_epoch=kept.append)
    assert str(error.value) == (
        "the training loss became nan in epoch 1, which is not kept: "
        "lower train.optimizer.lr or set train.warmup"
    )
    assert kept == []


def test_bfloat16_keeps_float32_weights() -> None:
    data, net, seen = split(32), network(0.7), []
    net[0].register_forward_hook(lambda m, i, out: seen.append(out.dtype))
    train(net, task(data, data), schedule(epochs=1, autocast="bfloat16"), sgd(net), 0)
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in net.parameters()} == {torch.float32}


# --- attacks and terms of training --------------------------------------------------------------


def adversarial(net: nn.Module, epochs: int, resume: Progress | None = None) -> Progress:
    training = pgd_training(unit=1 / 255, sigma=32, largest=64)
    data = split(64)
    return train(
        net,
        task(data, data),
        schedule(epochs=epochs),
        sgd(net),
        0,
        resume=resume,
        perturb=partial(training.batch, net, net, (0.0, 1.0)),
    )


def test_adversarial_training_resumes_bit_for_bit() -> None:
    kept: list[Progress] = []
    whole = network(0.6)
    training = pgd_training(unit=1 / 255)
    data = split(64)
    train(
        whole,
        task(data, data),
        schedule(),
        sgd(whole),
        0,
        after_epoch=lambda p: kept.append(copy.deepcopy(p)),
        perturb=partial(training.batch, whole, whole, (0.0, 1.0)),
    )
    resumed = network(0.6, seed=1)
    train(
        resumed,
        task(data, data),
        schedule(),
        sgd(resumed),
        0,
        resume=kept[1],
        perturb=partial(training.batch, resumed, resumed, (0.0, 1.0)),
    )
    assert equal(resumed.state_dict(), kept[-1].network)


def test_the_update_is_on_the_adversarial_examples_in_training_mode() -> None:
    met: list[tuple[bool, Tensor]] = []
    net, data = network(1), split(64)

    def black(x: Tensor, y: Tensor, noise: torch.Generator) -> tuple[Tensor, Any]:
        return torch.zeros_like(x), nullcontext()

    net.register_forward_pre_hook(lambda m, inputs: met.append((m.training, inputs[0])))
    train(net, task(data, data), schedule(epochs=1), sgd(net), 0, perturb=black)
    assert len(met) == 4
    assert all(training and not x.any() for training, x in met)


def test_adversarial_training_leaves_batches_and_sketches_what_they_were() -> None:
    """What the attack draws comes from a generator of its own; without one nothing changes."""
    plain, twin, data = network(1), network(1), split(64)
    done = train(plain, task(data, data), schedule(epochs=2), sgd(plain), 0)

    def unchanged(x: Tensor, y: Tensor, noise: torch.Generator) -> tuple[Tensor, Any]:
        torch.rand(10, generator=noise)
        return x, nullcontext()

    same = train(twin, task(data, data), schedule(epochs=2), sgd(twin), 0, perturb=unchanged)
    assert equal(done.network, same.network)
    assert not equal(done.network, adversarial(network(1), 2).network)


def test_a_penalty_joins_the_loss() -> None:
    """Plain descent on beta / 2 ||w||^2 beside the loss is weight decay of beta."""
    data, nets = split(64), [network(1), network(1)]
    options: list[dict[str, Any]] = [{"weight_decay": 0.1}, {}]
    terms = [None, lambda net: 0.05 * sum(p.square().sum() for p in net.parameters())]
    for net, option, term in zip(nets, options, terms, strict=True):
        made = torch.optim.SGD(net.parameters(), lr=0.1, **option)
        train(net, task(data, data), schedule(epochs=2), made, 0, penalty=term)
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


# --- stopping in the middle of an epoch ---------------------------------------------------------


def stopped(
    net: nn.Module, at: int, path: Path, resume: Progress | None = None, **options: Any
) -> str:
    """Trained until SIGTERM comes in the batch of that number (0: in the validation)."""
    seen: list[int] = []

    def hook(*_: Any) -> None:
        seen.append(1)
        if len(seen) == at:
            signal.raise_signal(signal.SIGTERM)

    def keep(now: Progress) -> None:
        checkpoint.save(path, {"fingerprint": "f", "progress": now.state()})

    handle = net[-1].register_forward_hook(hook)
    try:
        with signals.listening(), signals.at_batches():
            run(net, resume, keep, **options)
    except signals.Stopped as stop:
        return str(stop)
    finally:
        handle.remove()
    return ""


def run(net: nn.Module, resume: Progress | None, keep: Any, **options: Any) -> Progress:
    data = split(80)
    plan = schedule(epochs=2, crop=1, warmup=0.1)  # of 5 batches
    whole = task(data, split(20, seed=1), flip=True)
    return train(net, whole, plan, sgd(net), 7, resume=resume, after_epoch=keep, **options)


def attacked(net: nn.Module) -> dict[str, Any]:
    return {"perturb": partial(pgd_training(unit=1 / 255).batch, net, net, (0.0, 1.0))}


@pytest.mark.parametrize("adversarial", [False, True])
@pytest.mark.parametrize("at", [1, 3, 5, 6, 8])
def test_stopped_within_an_epoch_equals_uninterrupted(
    at: int, adversarial: bool, tmp_path: Path
) -> None:
    path = tmp_path / "run.pt"
    whole, halted, gone_on = (network(0.7, seed) for seed in (0, 0, 5))
    ways = [attacked(net) if adversarial else {} for net in (whole, halted, gone_on)]
    expected = run(whole, None, lambda now: None, **ways[0])
    said = stopped(halted, at, path, **ways[1])
    state = checkpoint.load(path, "f", gone_on)
    assert state is not None
    progress = Progress(**state["progress"])
    if not adversarial:  # whose attack runs forwards of its own
        assert (progress.epoch, progress.step) == ((at - 1) // 5, (at - 1) % 5 + 1)
        where = f"epoch {progress.epoch + 1}, batch {progress.step} of 5"
        assert said == (
            f"stopped by SIGTERM: train is saved at {where}; the same command goes on from there"
        )
    torch.manual_seed(99)  # another process
    resumed = run(gone_on, progress, lambda now: None, **ways[2])
    assert equal(resumed.network, expected.network)
    assert equal(resumed.optimizer, expected.optimizer)
    assert without_seconds(resumed.history) == without_seconds(expected.history)
    assert resumed.state().keys() == {"epoch", "network", "optimizer", "history"}


def test_stopped_while_validating_loses_no_batch(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    net, again = network(0.7), network(0.7, seed=5)

    def ask() -> float:
        signal.raise_signal(signal.SIGTERM)
        signals.stop("another's words")
        raise AssertionError

    expected = run(network(0.7), None, lambda now: None, validate=lambda: 0.5)
    assert "train is saved at epoch 1, batch 5 of 5" in stopped(net, 0, path, validate=ask)
    state = checkpoint.load(path, "f", again)
    assert state is not None and state["progress"]["history"] == []
    resumed = run(again, Progress(**state["progress"]), lambda now: None, validate=lambda: 0.5)
    assert equal(resumed.network, expected.network)
    assert without_seconds(resumed.history) == without_seconds(expected.history)


def test_a_stop_does_not_keep_what_is_no_number(tmp_path: Path) -> None:
    net = network(1)
    with torch.no_grad():
        net[-1].bias[0] = float("nan")
    with pytest.raises(UsageError, match="the training loss became nan in epoch 1"):
        stopped(net, 2, tmp_path / "run.pt")
    assert list(tmp_path.iterdir()) == []


def test_statistics_that_explode_under_a_finite_loss_are_not_kept() -> None:
    """An activation of 1e30 has an infinite variance; what BatchNorm makes of it is finite."""
    data, kept = split(32), []
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), DrawBatchNorm2d(4), nn.Flatten(), nn.Linear(144, 4)
    )
    with torch.no_grad():
        net[0].weight.fill_(1e30)
    with pytest.raises(UsageError) as error:
        train(net, task(data, data), schedule(), sgd(net, 1e-9), 0, after_epoch=kept.append)
    assert str(error.value) == (
        "the training values of 1.running_var became infinite or no numbers in epoch 1, "
        "which is not kept: lower train.optimizer.lr or set train.warmup"
    )
    assert kept == []

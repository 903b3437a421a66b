"""Attacks on models that overwrite, seed, join or round what they are given."""

import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import defensive_tensorization as dt
from defensive_tensorization.attacks.batching import repeatable
from defensive_tensorization.attacks.expectation import Expectation, cross_entropy
from defensive_tensorization.auditing import measure
from defensive_tensorization.auditing.store import Store
from defensive_tensorization.auditing.target import AuditTarget
from defensive_tensorization.auditing.whole import Whole
from defensive_tensorization.randomness import AT_EXAMPLES

EPSILON = 0.05
ATTACKS = {
    "fgsm": dt.attacks.fgsm(epsilon=EPSILON),
    "pgd": dt.attacks.pgd(epsilon=EPSILON, steps=3),
    "eot_pgd": dt.attacks.eot_pgd(epsilon=EPSILON, steps=3, samples=2),
    "apgd": dt.attacks.apgd(epsilon=EPSILON, steps=3, samples=2),
    "square": dt.attacks.square(epsilon=EPSILON, queries=5, samples=2),
}
each_attack = pytest.mark.parametrize("name", [*ATTACKS])


def linear(features: int = 48, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(features, 10)


def images(n: int = 20) -> Tensor:
    return torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def attacked(name: str, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    torch.manual_seed(2)
    return ATTACKS[name](model, x, y)


# --- inputs that the model overwrites -------------------------------------------------------------


class Scaling(nn.Module):
    """Darkens its input, in place or not."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.head, self.in_place = linear(), in_place

    def forward(self, x: Tensor) -> Tensor:
        x = x.mul_(0.8) if self.in_place else x * 0.8
        logits: Tensor = self.head(x.flatten(1))
        return logits


@each_attack
def test_a_model_that_overwrites_its_input_is_attacked_as_one_that_does_not(name: str) -> None:
    x, (overwrites, copies) = images(), (Scaling(True).eval(), Scaling(False).eval())
    y, given = copies(x).argmax(1), x.clone()
    found = attacked(name, overwrites, given, y)
    assert torch.equal(given, x)
    assert torch.equal(found, attacked(name, copies, x, y))
    assert (found - x).abs().max() <= EPSILON * (1 + 1e-5)


# --- random choices that the model seeds ----------------------------------------------------------


class Noisy(nn.Module):
    """The same noise at every forward, from the global generator or one of its own."""

    def __init__(self, seeds_all: bool) -> None:
        super().__init__()
        self.head, self.seeds_all = linear(), seeds_all

    def forward(self, x: Tensor) -> Tensor:
        generator = None
        if self.seeds_all:
            torch.manual_seed(0)
        else:
            generator = torch.Generator().manual_seed(0)
        noise = torch.randn(x.shape[1:], generator=generator)
        logits: Tensor = self.head((x + 0.05 * noise).flatten(1))
        return logits


@each_attack
def test_a_model_that_seeds_the_global_generator_repeats_no_choice_of_the_attack(name: str) -> None:
    x, (seeds_all, seeds_own) = images(), (Noisy(True).eval(), Noisy(False).eval())
    y = seeds_own(x).argmax(1)
    assert torch.equal(attacked(name, seeds_all, x, y), attacked(name, seeds_own, x, y))


class Dropping(nn.Module):
    """Random by the global generator."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.seen = linear(), [torch.zeros(0)]

    def forward(self, x: Tensor) -> Tensor:
        kept = torch.rand(48) < 0.5
        self.seen.append(kept.float())
        logits: Tensor = self.head(x.flatten(1) * kept)
        return logits


def test_a_model_s_own_choices_vary_and_follow_the_seed() -> None:
    x, model = images(), Dropping().eval()
    y = linear()(x.flatten(1)).argmax(1)
    once = attacked("eot_pgd", model, x, y)
    masks = {tuple(each.tolist()) for each in model.seen[1:]}
    assert len(masks) == len(model.seen) - 1 > 6
    assert torch.equal(attacked("eot_pgd", model, x, y), once)


# --- slopes that are infinite ---------------------------------------------------------------------


class Gamma(nn.Module):
    """The square root, whose slope at a black pixel is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.head = linear()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1).sqrt())
        return logits


@pytest.mark.parametrize("name", ["eot_pgd", "apgd"])
def test_one_black_pixel_blinds_no_averaging_attack(name: str) -> None:
    x, model = images(), Gamma().eval()
    x[:, 0, 0, 0] = 0
    y = model(x).argmax(1)
    attack = {
        "eot_pgd": dt.attacks.eot_pgd(epsilon=0.3, steps=20),
        "apgd": dt.attacks.apgd(epsilon=0.3, steps=20),
    }[name]
    left = (model(attack(model, x, y)).argmax(1) == y).float().mean()
    by_signs = dt.attacks.pgd(epsilon=0.3, steps=20)(model, x, y)  # for which size counts nothing
    assert left <= (model(by_signs).argmax(1) == y).float().mean() < 0.5


class Slope(torch.autograd.Function):
    """Zeros, with the given gradient [B, F]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return torch.zeros(len(x))

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> tuple[Tensor, None]:
        return given[0][:, None] * ctx.saved_tensors[0], None


def test_directions_of_gradients_with_infinite_entries_by_hand() -> None:
    """An infinite entry becomes the largest finite one, NaN zero; then the L1 norm is 1."""
    inf, nan = float("inf"), float("nan")
    slopes = [[inf, 2, -1], [nan, 1, 1], [-inf, 0, nan], [3e38, -3e38, 0], [0, 0, 0], [1, 3, 0]]
    wanted = [
        [0.4, 0.4, -0.2],
        [0, 0.5, 0.5],
        [-1, 0, 0],
        [0.5, -0.5, 0],
        [0, 0, 0],
        [0.25, 0.75, 0],
    ]

    class Sloped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = Slope.apply(x, torch.tensor(slopes))
            return torch.stack([z, torch.zeros_like(z)], 1)

    x = torch.zeros(6, 3)
    ask = Expectation(Sloped(), x, lambda z, y: z[:, 0], average="gradient")
    found = ask(x, torch.zeros(6, dtype=torch.long)).gradient
    torch.testing.assert_close(found, torch.tensor(wanted))


# --- batches that the model joins or cuts ---------------------------------------------------------


class Joined(nn.Module):
    """Exactly zero under any draw: one convolution on the batch joined with itself."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        once, again = self.head(self.conv(torch.cat([x, x])).relu().mean((2, 3))).chunk(2)
        return once - again


class Prompted(Joined):
    """The convolution also meets one learned image."""

    def forward(self, x: Tensor) -> Tensor:
        prompt = torch.full((1, 3, 4, 4), 0.5)
        logits: Tensor = self.head((self.conv(x) + self.conv(prompt)).relu().mean((2, 3)))
        return logits


class OneByOne(Joined):
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.stack([self.conv(one) for one in x]).relu().mean((2, 3)))
        return logits


class Functional(Joined):
    """The convolution's weight alone is used, so that no layer meets the batch."""

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.conv.weight.clone()
        logits: Tensor = self.head(nn.functional.conv2d(x, kernel, padding=1).relu().mean((2, 3)))
        return logits


class Plain(Joined):
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.conv(input=x).relu().mean((2, 3)))
        return logits


class Hidden(Plain):
    """A second defence: each forward hides the same random pixels of all images."""

    forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        return super().forward(x * (torch.rand(1, 1, *x.shape[2:]) < 0.5))


class Centred(Plain):
    """Subtracts the mean image of the batch, as statistics of the batch do."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


class Scaled(Plain):
    """Divides by the largest value of the batch, as dynamic quantization does."""

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv(x)
        logits: Tensor = self.head((features / features.amax()).relu().mean((2, 3)))
        return logits


class Alert(Hidden):
    """Hides pixels where it is alarmed, here by one above 1, as others are by an example."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.amax() > 1 else Plain.forward(self, x)


def sketched(model: nn.Module) -> nn.Module:
    net: nn.Module = dt.tensorize(model, theta=0.7, min_dim=3).eval().requires_grad_(False)
    dt.sketching.seed(net, 0)
    return net


@pytest.mark.parametrize("batch", [1, 10])
@pytest.mark.parametrize(
    "model", [Joined, Prompted, OneByOne, Functional, Hidden, Centred, Scaled, Plain]
)
def test_draws_run_together_only_where_every_layer_meets_the_batch(
    model: type[nn.Module], batch: int
) -> None:
    net = sketched(model())
    before = dt.sketching.rng_states(net)
    assert repeatable(net, images(batch)) is (model is Plain)
    assert dt.sketching.rng_states(net).keys() == before.keys()  # nothing was drawn
    y = torch.zeros(batch, dtype=torch.long)
    ask = Expectation(net, images(batch), cross_entropy, draws=10)
    assert ask.together > 1 if model is Plain else ask.together == 1
    made = ask(images(batch), y)
    if model is Joined:  # the cross-entropy of equal logits, whatever is drawn
        torch.testing.assert_close(made.loss, torch.full((batch,), 10.0).log())


class Pooled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu().mean((2, 3))


@pytest.mark.parametrize("recalibrated", [False, True])
def test_few_images_are_audited_with_their_draws_together(recalibrated: bool) -> None:
    net = sketched(nn.Sequential(Plain().conv, nn.BatchNorm2d(16), Pooled()))
    if recalibrated:
        net = dt.recalibrate(net, reference=images(4)).eval()
    assert repeatable(Whole(net), images(4))
    little: dict[str, Any] = {"steps": 1, "samples": 10, "queries": 1, "scored": 2}
    y = torch.zeros(4, dtype=torch.long)
    report = dt.audit(net, (images(4), y), epsilon=8 / 255, claim=0.5, **little)
    assert "4 images" in str(report)


def test_every_draw_of_an_attack_is_one_of_a_second_defence() -> None:
    net = sketched(Hidden())
    assert isinstance(net, Hidden)
    ask = Expectation(net, images(4), cross_entropy, draws=10)
    before = net.forwards
    ask(images(4), torch.zeros(4, dtype=torch.long))
    assert net.forwards - before == 10


def test_a_second_defence_that_draws_at_examples_alone_is_seen_there() -> None:
    net, x, y = sketched(Alert()), images(4), torch.zeros(4, dtype=torch.long)
    ask = Expectation(net, x, cross_entropy, draws=10)
    ask(x, y)
    assert ask.together > 1
    for _ in range(3):
        ask(x + 1, y)
    assert ask.together == 1


def test_the_loss_of_a_model_that_joins_images_is_the_mean_over_its_forwards() -> None:
    x, y = images(4), torch.zeros(4, dtype=torch.long)
    net = sketched(Centred())
    found = Expectation(net, x, cross_entropy, draws=10)(x, y, gradient=False).loss
    dt.sketching.seed(net, 0)
    with torch.no_grad():
        wanted = torch.stack([cross_entropy(net(x), y) for _ in range(10)]).mean(0)
    torch.testing.assert_close(found, wanted)


def test_draws_of_a_compiled_network_run_one_by_one() -> None:
    net = sketched(Plain())
    net.compile(backend="eager")
    assert not repeatable(net, images(4))
    assert not repeatable(torch.compile(sketched(Plain()), backend="eager"), images(4))


# --- inputs in 16 bits, and without a place -------------------------------------------------------


@each_attack
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("epsilon", [1 / 255, 8 / 255])
def test_sixteen_bits_stay_in_the_ball(name: str, dtype: torch.dtype, epsilon: float) -> None:
    model = nn.Sequential(nn.Flatten(), linear()).to(dtype).eval()
    x = images().to(dtype)
    settings: dict[str, Any] = {"square": {"queries": 5}, "fgsm": {}}.get(name, {"steps": 3})
    attack = getattr(dt.attacks, name)(epsilon=epsilon, **settings)
    found = attack(model, x, model(x).argmax(1))
    assert found.dtype == dtype and not torch.equal(found, x)
    assert (found.double() - x.double()).abs().max() <= epsilon
    assert found.min() >= 0 and found.max() <= 1


@each_attack
def test_a_half_model_whose_logits_are_float32_is_attacked(name: str) -> None:
    class Outside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = linear().bfloat16()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.flatten(1)).float()

    x = images().bfloat16()
    assert attacked(name, Outside().eval(), x, torch.zeros(20, dtype=torch.long)).dtype == x.dtype


@each_attack
def test_inputs_without_a_place_are_attacked_as_a_row_of_pixels(name: str) -> None:
    """[B, F] as [B, 1, F], by the same choices."""
    x = images().flatten(1)
    flat, row = linear().eval(), nn.Sequential(nn.Flatten(), linear()).eval()
    y = flat(x).argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = attacked(name, flat, x, y)
    assert torch.equal(found, attacked(name, row, x[:, None], y)[:, 0])
    assert (found - x).abs().max() <= EPSILON * (1 + 1e-5)


# --- attacks of others, answers of others ---------------------------------------------------------


def test_an_attack_that_changes_the_model_changes_no_later_score() -> None:
    model = nn.Sequential(nn.Flatten(), linear(), nn.Dropout(0.9)).eval()
    x = images()
    y = model(x).argmax(1)

    def theirs(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        model.train()  # as training by adversarial examples leaves it
        with torch.no_grad():
            model[1].weight.zero_()
        return x

    found = dt.evaluate(model, (x, y), attacks=[theirs], batch_size=5)
    assert [score.interval.estimate for score in found.scores] == [1.0, 1.0]
    assert not model.training and model[1].weight.abs().sum() > 0


class Alarmed(nn.Module):
    """Adds noise where `alarm` says so, image by image."""

    def __init__(self, alarm: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.head, self.alarm = linear(), alarm

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        noise = 0.4 * torch.randn_like(flat) * self.alarm(x, self.head(flat)).view(-1, 1)
        logits: Tensor = self.head(flat + noise)
        return logits


def off_the_images(x: Tensor, _: Tensor) -> Tensor:
    gaps = (x.flatten(1)[:, None] - images().flatten(1)[None]).abs().amax(2)
    return gaps.amin(1) > 1e-4


def unsure(_: Tensor, logits: Tensor) -> Tensor:
    top = logits.topk(2, 1).values
    return top[:, 0] - top[:, 1] < 0.01


def sure_images(least: float) -> tuple[Tensor, Tensor]:
    """Of two classes, ten images each, one after the other in turn."""
    x = torch.rand(4000, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    top = linear()(x.flatten(1)).topk(2, 1)
    sure, y = top.values[:, 0] - top.values[:, 1] > least, top.indices[:, 0]
    most = y[sure].bincount().topk(2).indices
    rows = torch.stack([(sure & (y == each)).nonzero()[:10, 0] for each in most], 1).flatten()
    return x[rows], y[rows]


def test_a_model_that_is_random_beside_the_images_alone_is_scored_by_draws() -> None:
    x = images()
    model, data = Alarmed(off_the_images).eval(), (x, linear()(x.flatten(1)).argmax(1))
    result = dt.evaluate(model, data, ATTACKS["eot_pgd"], samples=10)
    assert result.random.sources == ("torch's global generators",) and not result.random.shared
    assert result.clean.answers.draws == 10 and result.clean.accuracy == 1
    assert len(set(result["eot_pgd"].correct.tolist())) > 2  # images between all and no draws
    report = dt.audit(model, data, epsilon=EPSILON, steps=1, samples=2, queries=1, scored=3)
    assert report.random and report.result["scored"] == 3


def test_a_model_that_is_random_at_examples_alone_is_scored_by_draws(tmp_path: Any) -> None:
    """Only where it is unsure, which neither random corners nor one step of the gradient meet."""
    x, y = sure_images(0.2)
    model = Alarmed(unsure).eval()

    def nearly(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Where the line to an image of the other class leaves its own, by bisection."""
        low, high = x, x.flip(0)
        for _ in range(30):
            middle = (low + high) / 2
            right = (model.head(middle.flatten(1)).argmax(1) == y).view(-1, 1, 1, 1)  # type: ignore[operator]
            low, high = torch.where(right, middle, low), torch.where(right, high, middle)
        return low

    result = dt.evaluate(model, (x, y), nearly, samples=10)
    assert result.random == AT_EXAMPLES and "at examples of attacks" in str(result)
    assert result.clean.answers.draws == 10 and result.clean.accuracy == 1
    assert 0 < result["nearly"].accuracy < 1
    found = AuditTarget(model, x, y, (0.0, 1.0), 1.0, 10, 20, radius=1e-3)
    assert not found.random
    attack = replace(
        ATTACKS["fgsm"], epsilon=0.1, perturb=lambda m, x, y, b, r: nearly(model, x, y)
    )
    run = measure._Run(found, {"fgsm": attack}, 5, 0, Store(tmp_path))
    with pytest.raises(measure._Varies):
        run.scored_under("fgsm")
    found.is_random(AT_EXAMPLES)
    assert run.scored_under("fgsm").draws == 5


def test_an_average_over_draws_starts_where_the_model_becomes_random() -> None:
    x, y = images(4), torch.zeros(4, dtype=torch.long)
    ask = Expectation(Alarmed(off_the_images).eval(), x, cross_entropy, draws=6)
    assert ask.draws == 1
    ask(x, y)
    assert ask.draws == 1
    ask((x + 0.01).clamp(0, 1), y)
    assert ask.draws == 6 and ask.random


def steep(factor: float, dtype: torch.dtype) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    model = nn.Sequential(nn.Flatten(), linear()).eval()
    with torch.no_grad():
        model[1].weight.mul_(factor)
        model[1].bias.mul_(factor)
    return model.to(dtype), (images().to(dtype), model.float()(images()).argmax(1))


@pytest.mark.parametrize(
    ("factor", "dtype", "warns"),
    [
        (1.0, torch.float32, ""),
        (1.0, torch.float16, ""),
        (1e4, torch.float32, "vanish or are infinite"),
        (60.0, torch.float32, ""),
        (60.0, torch.float16, "vanish or are infinite"),
        (1e-6, torch.float32, ""),
        (1e-6, torch.float16, "have underflowed to zero, or are NaN, in"),
    ],
)
def test_gradients_that_vanish_are_warned_of(factor: float, dtype: torch.dtype, warns: str) -> None:
    model, data = steep(factor, dtype)
    model = model.to(dtype)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dt.evaluate(model, data, [ATTACKS["pgd"]])
        assert [warns in str(each.message) for each in caught] == [True] * bool(warns)
        del caught[:]
        dt.evaluate(model, data, [ATTACKS["square"]])
        assert not caught


class Rooted(nn.Sequential):
    """At a black pixel the slope of sqrt(x²) is NaN, and attacks leave the pixel alone."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x.pow(2).sqrt())
        return logits


class SquareRoots(nn.Sequential):
    """At a black pixel the slope is infinite: attacks know where to go."""

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(x.sqrt())
        return logits


def test_gradients_that_are_nan_at_some_pixels_are_warned_of() -> None:
    x = images().clone()
    x[:, :, ::2] = 0
    plain = nn.Sequential(nn.Flatten(), linear()).eval()
    labels = plain(x).argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for model in (plain, SquareRoots(*plain).eval()):
            dt.evaluate(model, (x, labels), [ATTACKS["pgd"]])
    with pytest.warns(UserWarning, match=r"are NaN, in 5\d% of their entries"):
        dt.evaluate(Rooted(*plain).eval(), (x, labels), [ATTACKS["pgd"]])


def functional(layer: Any, x: Tensor) -> Tensor:
    return nn.functional.conv2d(x, layer.weight)


class Bypassing(nn.Module):
    """Reads the weights of its layers in a loop, behind a helper; some layers it calls as well."""

    def __init__(self, calls: str, reads: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Linear(48, 10)
        self.calls, self.reads = calls, reads

    def forward(self, x: Tensor) -> Tensor:
        for name in self.calls:
            x = getattr(self, name)(x)
        for layer in (getattr(self, name) for name in self.reads):
            x = x + functional(layer, x)
        logits: Tensor = self.head(x.flatten(1))
        return logits


@pytest.mark.parametrize(
    ("calls", "reads", "named"),
    [("ab", "", []), ("a", "", []), ("a", "b", ["b"]), ("ab", "a", ["a"]), ("", "ab", ["a", "b"])],
)
@pytest.mark.parametrize("theta", [None, 0.8])
@pytest.mark.parametrize("call", ["evaluate", "audit"])
def test_real_weights_of_binary_layers_are_warned_of(
    calls: str, reads: str, named: list[str], theta: float | None, call: str
) -> None:
    model: nn.Module = Bypassing(calls, reads).eval()
    if theta:
        model = dt.tensorize(model, theta=theta)
    dt.binarize(model, exclude=["head"])
    x, y = images(4), torch.zeros(4, dtype=torch.long)
    before = {name: p.clone() for name, p in model.named_parameters()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if call == "evaluate":
            dt.evaluate(model, (x, y), samples=2)
        else:
            dt.audit(model, (x, y), epsilon=0.1, steps=1, samples=1, queries=1, scored=2)
    said = [str(each.message) for each in caught if "past their forward" in str(each.message)]
    wanted = ", ".join(f"'{name}'" for name in named)
    assert len(said) == bool(named) and all(f"layers {wanted} past" in each for each in said)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


class Slow(nn.Module):
    """Random by the global generator, and open to other threads in the middle of a forward."""

    def __init__(self) -> None:
        super().__init__()
        self.head = linear()

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(1e-3)
        logits: Tensor = self.head(x.flatten(1) + 0.3 * torch.randn(len(x), 48))
        return logits


def test_threads_that_evaluate_at_once_find_what_each_finds_alone() -> None:
    x = images()
    data = (x, linear()(x.flatten(1)).argmax(1))

    models = [Slow().eval() for _ in range(4)]  # their weights are drawn before the threads start

    def found(seed: int) -> Any:
        made = dt.evaluate(models[seed], data, ATTACKS["eot_pgd"], samples=5, seed=seed)
        return [score.correct.tolist() for score in made.scores]

    alone = [found(seed) for seed in range(4)]
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        assert [*pool.map(found, range(4))] == alone
    assert torch.equal(torch.get_rng_state(), state)


def test_an_image_without_an_example_of_the_size_counts_as_correct_where_asked() -> None:
    """Binary search beyond epsilon finds what epsilon does not; the attack says so."""
    model, x = nn.Sequential(nn.Flatten(), linear()), images()
    y = model(x).argmax(1)
    attack = dt.attacks.in_units.foolbox1_bim(
        epsilon=0.001, unit=1.0, steps=5, binary_search="within"
    )
    ended = attack.end(model, x, y, (0.0, 1.0))[1]
    assert ended is not None and bool(ended.robust.all())
    assert dt.evaluate(model, (x, y), attacks=[attack]).accuracy == 1.0


class OneBuffer(nn.Module):
    """Writes every answer without a gradient into the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.out = linear(), torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        noisy = x.flatten(1) + 0.5 * torch.randn(len(x), 48)
        logits: Tensor = self.head(noisy)
        if torch.is_grad_enabled():
            return logits
        self.out = self.out if len(self.out) == len(x) else torch.empty(len(x), 10)
        return self.out.copy_(logits)


def test_answers_in_memory_that_is_used_again_are_kept_apart() -> None:
    model, x = OneBuffer().eval(), images(30)
    score = dt.evaluate(model, (x, model(x).argmax(1))).scores[0].answers
    assert len(set(score.by_draw.tolist())) > 1
    assert set(score.correct.tolist()) - {0, 30}
    assert dt.evaluate(model, (x, model(x).argmax(1)), samples=2).random


@pytest.mark.parametrize("own", [True, False])
def test_a_batchnorm_of_the_batch_s_statistics_meets_one_draw_at_a_time(own: bool) -> None:
    model = dt.tensorize(
        nn.Sequential(
            nn.Conv2d(3, 6, 3),
            nn.BatchNorm2d(6, track_running_stats=not own),
            nn.Flatten(),
            nn.Linear(24, 10),
        ),
        theta=0.7,
    )
    x = images(6)
    assert not repeatable(model.train(not own), x)
    if not own:
        assert repeatable(model.eval(), x)


class Bright(nn.Module):
    """Robust: far from its threshold on the mean."""

    def forward(self, x: Tensor) -> Tensor:
        z = 40 * (x.flatten(1).mean(1) - 0.85)
        return torch.stack([-z, z], 1)


def test_a_robust_model_is_not_called_masked_where_one_class_has_most_images() -> None:
    drawn = torch.Generator().manual_seed(0)
    x = 0.25 + 0.1 * torch.rand(100, 1, 4, 4, generator=drawn)
    x[::10] = 0.95 + 0.05 * torch.rand(10, 1, 4, 4, generator=drawn)
    y = (torch.arange(100) % 10 == 0).long()
    report = dt.audit(Bright(), (x, y), epsilon=0.03, images=100, steps=4, queries=10)
    unbounded = next(c for c in report.checks if c.name == "unbounded")
    assert unbounded.status == "pass" and unbounded.figures["chance"] == 0.9


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(24, 10)).eval()


@pytest.mark.parametrize("seed", [np.int64(0), torch.tensor(0), False])
def test_equal_seeds_of_other_types_give_equal_draws(seed: Any) -> None:
    model = dt.tensorize(small(), theta=0.5)
    x = images(4)
    with dt.sketching.frozen(model, seed=0):
        expected = model(x)
    with dt.sketching.frozen(model, seed=seed):
        torch.testing.assert_close(model(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("seed", [None, 0.5, "0"])
def test_what_is_no_seed_is_refused_in_one_line(seed: Any) -> None:
    model, x = dt.tensorize(small(), theta=0.5), images(4)
    data = (x, torch.zeros(4, dtype=torch.long))
    for call in (
        lambda: dt.sketching.frozen(model, seed=seed),
        lambda: dt.evaluate(model, data, seed=seed),
        lambda: dt.audit(model, data, epsilon=0.1, seed=seed),
    ):
        with pytest.raises(ValueError, match="^a seed must be a whole number, got") as refused:
            call()
        assert "\n" not in str(refused.value)


def test_a_random_surrogate_is_as_before_and_gives_the_same_examples() -> None:
    model, x = nn.Sequential(nn.Flatten(), linear()), images(10)
    surrogate = dt.tensorize(small(), theta=0.5)
    surrogate(x)
    states = dt.sketching.rng_states(surrogate)
    data = (x, model(x).argmax(1))

    def transferred() -> Any:
        report = dt.audit(
            model, data, epsilon=0.1, surrogate=surrogate, images=10, steps=2, queries=3
        )
        return report.result["attacks"]

    first = transferred()
    for name, state in dt.sketching.rng_states(surrogate).items():
        assert torch.equal(state, states[name])
    surrogate(x)
    assert transferred() == first


def test_the_reference_set_is_the_network_s_own() -> None:
    buffer, x = images(8), images(4)
    conv = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(24, 10))
    net = dt.recalibrate(conv.eval(), buffer).eval()
    expected = net(x)
    buffer.sub_(0.5).mul_(4)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=0)

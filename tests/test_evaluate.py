"""The scoring protocol: subsets, streams of each row, and every image in the denominator."""

import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from helpers.fake_task import split, task
from torch import Tensor, nn

from defensive_tensorization.attacks import Attack, group_by_steps
from defensive_tensorization.attacks.in_units import eot_pgd, fgsm, pgd
from defensive_tensorization.attacks.scoring import score_logits
from defensive_tensorization.data import Split
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment.classifier import Classifier
from defensive_tensorization.experiment.evaluate import (
    Score,
    answers,
    depends_on_seed,
    described,
    evaluate,
)
from defensive_tensorization.system import signals
from defensive_tensorization.tucker import TuckerConv2d
from defensive_tensorization.xnor import SIGN_GRADIENTS, binary_layer, sign_gradient
from defensive_tensorization.xnor.sign import derivative

UNIT = 1 / 255
FGSM, PGD = fgsm(epsilon=4, unit=UNIT), pgd(epsilon=4, unit=UNIT, steps=2)


class ByPixel(nn.Module):
    """Class = the first pixel's value in 0..255, modulo 4; counts its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return nn.functional.one_hot((x[:, 0, 0, 0] * 255).round().long() % 4, 4).float()


class Spy(nn.Module):
    """Notes how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(192, 4)
        self.dtypes: list[torch.dtype] = []

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x.flatten(1))
        self.dtypes.append(y.dtype)
        return y


def randomized(theta: float = 0.4) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv = TuckerConv2d.from_conv(nn.Conv2d(3, 12, 5), theta, init="random")
        layers = (conv, nn.ReLU(), nn.Flatten(), nn.Linear(192, 4))
    return Classifier(nn.Sequential(*layers), "float32")


def scores(
    attacks: Sequence[Attack | None], seeds: Sequence[int] = (0,)
) -> dict[tuple[str, int], tuple[float, float]]:
    """Clean and robust accuracy of each row of one classifier, used seed after seed."""
    test, classifier = split(70), randomized()
    return {
        (s.attack.name if s.attack else "clean", s.eval_seed): (s.clean_accuracy, s.robust_accuracy)
        for seed in seeds
        for s in evaluate(classifier, task(test, test), test, attacks, seed, 32)
    }


# --- subset -----------------------------------------------------------------------------------


def test_subset_is_the_head_of_a_fixed_permutation() -> None:
    # sorted by class, as a folder tree gives it: the head alone would be one class
    whole = Split(torch.arange(400, dtype=torch.uint8).view(-1, 1), torch.arange(400) // 100)
    small, large = whole.part(40, "eval.images"), whole.part(100, "eval.images")
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    assert torch.equal(large.inputs, whole.inputs[order[:100]])
    assert torch.equal(large.labels, whole.labels[order[:100]])
    assert torch.equal(small.labels, large.labels[:40])
    torch.manual_seed(5)
    assert torch.equal(whole.part(40, "eval.images").inputs, small.inputs)
    mix = Counter(large.labels.tolist())
    assert mix.keys() == {0, 1, 2, 3} and min(mix.values()) >= 15


def test_subset_of_all() -> None:
    whole = split(9)
    assert whole.part(None, "eval.images") is whole
    assert sorted(whole.part(9, "eval.images").labels.tolist()) == sorted(whole.labels.tolist())


@pytest.mark.parametrize("images", [0, -1, 10])
def test_a_subset_of_no_or_too_many_images_is_refused(images: int) -> None:
    with pytest.raises(UsageError) as error:
        split(9).part(images, "eval.images")
    assert str(error.value) == f"eval.images must lie in 1..9, got {images}"


def test_a_subset_says_its_size_and_seed() -> None:
    assert described(None, "clips") == "all test clips"
    assert described(1000, "images") == "1,000 test images, permutation seed 0"


# --- accuracy ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n, batch_size", [(23, 10), (20, 10), (7, 50), (5, 1)])
def test_accuracy_by_hand(n: int, batch_size: int) -> None:
    test, network = split(n), ByPixel()
    correct = sum(
        int(image[0, 0, 0]) % 4 == int(label)
        for image, label in zip(test.inputs, test.labels, strict=True)
    )
    classifier = Classifier(network, "float32")
    assert answers(classifier, task(test, test), test, None, 0, batch_size).accuracy == correct / n
    assert sum(network.sizes) == n
    assert max(network.sizes) <= batch_size


def test_the_last_partial_batch_counts() -> None:
    test, classifier = split(23), Classifier(ByPixel(), "float32")
    right = test.inputs[:, 0, 0, 0].long() % 4
    wrong_at_the_end = torch.cat([right[:20], (right[20:] + 1) % 4])
    made = Split(test.inputs, wrong_at_the_end)
    assert answers(classifier, task(made, made), made, None, 0, 10).accuracy == 20 / 23


def test_the_attack_meets_every_image_and_is_scored_after_it() -> None:
    """A made-up attack that moves the first pixel on by one class."""
    test, calls = split(23), []

    def perturb(
        model: nn.Module, x: Tensor, y: Tensor, bounds: tuple[float, float], radius: float
    ) -> Tensor:
        calls.append((len(x), len(y), bounds, radius))
        assert torch.is_grad_enabled()
        moved = x.clone()
        moved[:, 0, 0, 0] = ((moved[:, 0, 0, 0] * 255).round() + 1) / 255
        return moved

    attack = Attack("shift", 3, UNIT, 1, UNIT, False, perturb)
    shifted = Split(test.inputs, (test.inputs[:, 0, 0, 0].long() + 1) % 4)
    classifier = Classifier(ByPixel(), "float32")
    assert answers(classifier, task(shifted, shifted), shifted, attack, 0, 10).accuracy == 1
    assert answers(classifier, task(shifted, shifted), shifted, None, 0, 10).accuracy < 1
    assert calls == [(size, size, (0.0, 1.0), 3 / 255) for size in (10, 10, 3)]


# --- the streams of a row ---------------------------------------------------------------------


def test_rows_vary_with_the_seed_alone() -> None:
    seeds = range(6)
    torch.manual_seed(0)
    first = scores([None, FGSM, PGD], seeds)
    torch.manual_seed(123)  # whatever happened before
    assert scores([None, FGSM, PGD], seeds) == first
    for name in ("clean", "fgsm", "pgd"):
        assert len({first[name, seed][1] for seed in seeds}) > 1, "no randomness to be tested"


def test_a_row_does_not_depend_on_the_other_rows() -> None:
    whole = scores([None, FGSM, PGD], [0, 1, 2])
    for attacks in ([PGD], [PGD, None], [FGSM, PGD], [PGD, FGSM]):
        for seeds in ([2], [2, 0]):
            for key, row in scores(attacks, seeds).items():
                assert whole[key] == row, (key, attacks, seeds)


def test_rows_in_order_with_the_clean_accuracy_of_the_seed() -> None:
    test, classifier = split(70), randomized()
    for seed in (0, 1):
        clean = answers(classifier, task(test, test), test, None, seed, 32).accuracy
        made = list(evaluate(classifier, task(test, test), test, [FGSM, None, PGD], seed, 32))
        assert [s.attack for s in made] == [FGSM, None, PGD]
        assert {s.clean_accuracy for s in made} == {clean}
        assert made[1].robust_accuracy == clean
        assert all(isinstance(s, Score) and s.images == 70 and s.seconds > 0 for s in made)
        assert {s.eval_seed for s in made} == {seed}


def test_the_clean_score_says_how_far_gradients_agree_where_asked() -> None:
    test = split(70)

    def made(classifier: Classifier, images: int | None, draws: int = 4) -> list[Score]:
        asked = dict(score_samples=draws, gradient_images=images)
        return list(evaluate(classifier, task(test, test), test, [None, FGSM], 0, 32, **asked))

    found, without = made(randomized(), 6), made(randomized(), None)
    for one, other in zip(found, without, strict=True):  # asking changes nothing else
        assert (one.clean_accuracy, one.robust_accuracy) == (
            other.clean_accuracy,
            other.robust_accuracy,
        )
    assert [without[0].gradient_cosine, found[1].gradient_cosine] == [None, None]
    keeps_more, keeps_all = made(randomized(0.99), 6)[0], made(randomized(1.0), 6)[0]
    assert 0 < found[0].gradient_cosine < keeps_more.gradient_cosine < 1
    assert keeps_all.gradient_cosine is None  # of a deterministic network


def test_a_row_is_yielded_as_soon_as_it_is_known() -> None:
    test, network = split(10), ByPixel()
    classifier = Classifier(network, "float32")
    made = evaluate(classifier, task(test, test), test, [None, FGSM], 0, 10)
    assert next(made).attack is None
    assert network.sizes == [10]
    assert list(evaluate(classifier, task(test, test), test, [], 0, 10)) == []
    assert network.sizes == [10], "nothing asked for, yet something computed"


def test_evaluation_leaves_the_global_generator_alone() -> None:
    test, classifier = split(40), randomized()
    before = torch.get_rng_state()
    answers(classifier, task(test, test), test, PGD, 0, 32)
    assert torch.equal(before, torch.get_rng_state())


def test_epsilons_have_streams_of_their_own() -> None:
    """Two sizes of one attack at one seed are two rows, not one noise twice."""
    test, classifier, seen = split(8), randomized(), []

    def perturb(
        model: nn.Module, x: Tensor, y: Tensor, bounds: tuple[float, float], radius: float
    ) -> Tensor:
        seen.append((torch.rand(()).item(), model(x).sum().item()))
        return x

    for epsilon in (2, 2, 8):
        attack = Attack("noise", epsilon, UNIT, 1, UNIT, True, perturb)
        answers(classifier, task(test, test), test, attack, 0, 8)
    assert seen[0] == seen[1]
    assert seen[0][0] != seen[2][0] and seen[0][1] != seen[2][1]


# --- several numbers of steps -----------------------------------------------------------------


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("knowledge", ["fresh", "frozen", "transfer", "omniscient", "blackbox"])
def test_a_walk_s_rows_are_those_of_its_attacks_alone(knowledge: str, keep: str) -> None:
    test, classifier = split(40), randomized()
    attacks = [
        replace(eot_pgd(epsilon=4, unit=UNIT, steps=n, draws=3, keep=keep), knowledge=knowledge)
        for n in (1, 2, 5)
    ]
    data = task(test, test)
    twin = randomized(1.0)
    together = list(evaluate(classifier, data, test, [None, *attacks], 0, 40, twin, 4))
    for score in together:
        alone = answers(classifier, data, test, score.attack, 0, 40, twin, 4)
        assert score.answers.encoded() == alone.encoded()
    assert [score.attack for score in together] == [None, *attacks]


def test_a_walk_is_taken_once_and_its_time_dealt_out() -> None:
    """2 + 5 steps and an end each; together 5 steps and the last's end: the other is a step."""
    test, spy = split(10), Spy()
    attacks = [eot_pgd(epsilon=4, unit=UNIT, steps=n, draws=1) for n in (2, 5)]
    taken = {}
    for batch_size in (10, 5):
        spy.dtypes.clear()
        classifier = Classifier(spy, "float32")
        made = list(evaluate(classifier, task(test, test), test, attacks, 0, batch_size))
        taken[batch_size] = len(spy.dtypes)
    assert taken == {10: 1 + 5 + 1 + 2, 5: 2 * (1 + 2 + 5 + 2 + 2)}  # clean; scored twice
    assert [score.attack for score in made] == attacks
    one = list(evaluate(classifier, task(test, test), test, attacks, 0, 10))
    assert one[1].seconds == pytest.approx(one[0].seconds * 5 / 2)  # as each would take alone


def test_what_is_no_longer_walk() -> None:
    """Fewer steps after more, another size, restarts, and attacks that know no walk."""
    two, five = (eot_pgd(epsilon=4, unit=UNIT, steps=n) for n in (2, 5))
    wide = eot_pgd(epsilon=8, unit=UNIT, steps=9)
    again = eot_pgd(epsilon=4, unit=UNIT, steps=9, restarts=2)
    single = [pgd(epsilon=4, unit=UNIT, steps=n) for n in (2, 5)]
    attacks = [None, two, five, two, wide, again, *single]
    assert list(group_by_steps(attacks)) == [
        None,
        [two, five],
        [two],
        [wide],
        [again],
        *([a] for a in single),
    ]
    assert list(group_by_steps([two, five], together=False)) == [[two], [five]]


# --- several draws ----------------------------------------------------------------------------


def test_draws_are_judged_by_hand() -> None:
    """Three draws of four images of class 0."""
    p = torch.tensor(
        [
            [[0.9, 0.1, 0.0], [0.4, 0.6, 0.0], [0.6, 0.4, 0.0], [0.4, 0.5, 0.1]],
            [[0.6, 0.4, 0.0], [0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.4, 0.1, 0.5]],
            [[0.7, 0.3, 0.0], [0.4, 0.6, 0.0], [0.6, 0.4, 0.0], [0.5, 0.4, 0.1]],
        ]
    )
    made = score_logits(p.log(), torch.zeros(4, dtype=torch.long))
    assert made.correct.tolist() == [3, 1, 2, 1]
    assert made.by_draw.tolist() == [2, 2, 3]
    assert made.majority.tolist() == [True, False, True, False]  # the last: a tie of three
    assert made.probability.tolist() == [True, True, False, True]


@pytest.mark.parametrize("attack", [None, PGD])
def test_one_draw_is_the_accuracy_and_more_go_on_from_it(attack: Attack | None) -> None:
    test, classifier = split(40), randomized()
    data = task(test, test)
    many = answers(classifier, data, test, attack, 3, 16, None, 5)
    assert (many.draws, len(many.correct)) == (5, 40)
    whole = answers(classifier, data, test, attack, 3, 40, None, 5)  # a later batch: later draws
    assert whole.by_draw[0] / 40 == answers(classifier, data, test, attack, 3, 40).accuracy
    assert len(set(many.by_draw.tolist())) > 1


# --- the classifier ---------------------------------------------------------------------------


def test_classifier_is_fixed() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    classifier = Classifier(network, "float32")
    assert not any(m.training for m in classifier.modules())
    assert not any(p.requires_grad for p in network.parameters())
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    classifier(x).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0
    assert torch.equal(classifier(x), classifier(x))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_classifier_gives_float32(dtype: str) -> None:
    spy = Spy()
    classifier = Classifier(spy, dtype)
    assert classifier(torch.rand(2, 3, 8, 8)).dtype == torch.float32
    assert spy.dtypes == [getattr(torch, dtype)]


@pytest.mark.parametrize("name", SIGN_GRADIENTS)
def test_a_surrogate_is_the_attack_s_alone(name: str) -> None:
    """Scoring, like training, has the clipped identity."""
    met: dict[str, str] = {}
    slopes = {slope: each for each, slope in SIGN_GRADIENTS.items()}

    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            met["attack" if torch.is_grad_enabled() else "scoring"] = slopes[derivative()]
            return x.flatten(1)[:, :4]

    data = task(split(4), split(4))
    attack = replace(FGSM, surrogate=name)
    answers(Classifier(Watched(), "float32"), data, data.test, attack, 0, 4)
    assert met == {"attack": name, "scoring": "identity"}


def test_surrogates_attack_in_different_directions() -> None:
    torch.manual_seed(0)
    inner = binary_layer(nn.Conv2d(8, 8, 3))
    layers = (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), inner, nn.Flatten(), nn.Linear(128, 4))
    model = Classifier(nn.Sequential(*layers), "float32")
    x, y = torch.rand(4, 3, 8, 8), torch.arange(4)
    found = []
    for name in SIGN_GRADIENTS:
        with sign_gradient(name):
            found.append(FGSM(model, x, y, (0.0, 1.0)))
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[1], found[2])


# --- what cannot be scored, and being stopped ---------------------------------------------------


class Broken(nn.Module):
    """Answers with this number, or fails with this error, at one image."""

    def __init__(self, answer: float | Exception) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.answer, Exception):
            raise self.answer
        made = torch.zeros(len(x), 4)
        made[-1, 2] = self.answer
        return made


@pytest.mark.parametrize("answer", [float("nan"), float("inf"), -float("inf")])
def test_answers_that_are_no_numbers_are_not_scored(answer: float) -> None:
    test = split(10)
    with pytest.raises(UsageError) as caught:
        answers(Classifier(Broken(answer), "float32"), task(test, test), test, None, 0, 4)
    assert str(caught.value) == (
        "clean: the model's answers are infinite or no numbers, which cannot be scored: "
        "train it again at a lower train.optimizer.lr"
    )


def test_out_of_memory_names_the_batch_and_does_not_change_it() -> None:
    test, error = split(10), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
    with pytest.raises(UsageError) as caught:
        answers(Classifier(Broken(error), "float32"), task(test, test), test, None, 0, 4)
    assert str(caught.value) == (
        "out of memory (CUDA out of memory): take eval.batch_size below 4 "
        "(its rows are a protocol of their own)"
    )


def test_stopped_between_batches_the_rows_before_are_kept() -> None:
    test, found = split(70), []
    classifier = randomized()
    with pytest.raises(signals.Stopped, match="every row is saved but pgd 4, seed 0, which"):  # noqa: SIM117
        with signals.listening(), signals.at_batches():
            for score in evaluate(classifier, task(test, test), test, [None, FGSM, PGD], 0, 32):
                found.append(score.attack)
                if score.attack is FGSM:
                    signal.raise_signal(signal.SIGTERM)
    assert found == [None, FGSM]


# --- what no seed changes ---------------------------------------------------------------------


@pytest.mark.parametrize(("theta", "clean", "fgsm_", "pgd_"), [(1.0, 1, 1, 3), (0.4, 3, 3, 3)])
def test_what_no_seed_changes_is_found_once(
    theta: float, clean: int, fgsm_: int, pgd_: int
) -> None:
    test, classifier, deterministic_cache = split(40), randomized(theta), {}
    done: Counter[str] = Counter()
    alone, shared = [], []
    for seed in range(3):
        for s in evaluate(classifier, task(test, test), test, [None, FGSM, PGD], seed, 32):
            alone.append((s.attack, s.eval_seed, s.clean_accuracy, s.answers.correct.tolist()))
        kept = {"deterministic_cache": deterministic_cache}
        for s in evaluate(classifier, task(test, test), test, [None, FGSM, PGD], seed, 32, **kept):
            shared.append((s.attack, s.eval_seed, s.clean_accuracy, s.answers.correct.tolist()))
            done[s.attack.name if s.attack else "clean"] += s.seconds > 0
    assert shared == alone
    assert done == {"clean": clean, "fgsm": fgsm_, "pgd": pgd_}


def test_without_draws_one_forward_scores_them_all() -> None:
    network, test = ByPixel(), split(40)
    found = answers(
        Classifier(network, "float32"), task(test, test), test, None, 0, 32, score_samples=30
    )
    right = ((test.inputs[:, 0, 0, 0].long() % 4) == test.labels).numpy()
    assert network.sizes == [32, 8]
    assert found.correct.tolist() == (30 * right).tolist()
    assert found.by_draw.tolist() == [right.sum()] * 30
    assert found.majority.tolist() == found.probability.tolist() == right.tolist()


def test_a_black_box_attack_on_a_random_twin_is_random() -> None:
    known = replace(FGSM, knowledge="blackbox")
    assert not depends_on_seed(known, randomized(1.0), randomized(1.0))
    assert depends_on_seed(known, randomized(1.0), randomized(0.4))

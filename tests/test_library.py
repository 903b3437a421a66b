"""dt.evaluate and dt.audit on anybody's model: truth by hand, every kind of data, resumed work."""

import gc
import json
import math
import random
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import defensive_tensorization as dt
from defensive_tensorization.auditing import api, evaluation, inputs
from defensive_tensorization.auditing.verdict import MASKED, NOT_ROBUST, ROBUST, UNCLAIMED
from defensive_tensorization.auditing.whole import Whole
from defensive_tensorization.errors import UsageError

SIZE, CLASSES = 8, 2
EPSILON = 4 / 255


class Linear(nn.Module):
    """Class means for weights; certified by hand."""

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(means() - 0.5)
        self.noise = noise
        self.seen: list[int] = []
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        x = x.flatten(1) - 0.5
        if self.noise:
            x = x + self.noise * torch.randn_like(x)
        return x @ self.weight.T


def means() -> Tensor:
    signs = torch.ones(CLASSES, SIZE)
    signs[1, ::2] = -1  # orthogonal
    return 0.5 + 0.3 * signs


def data(n: int, spread: float) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(2)
    y = torch.randint(CLASSES, (n,), generator=made)
    x = means()[y] + spread * torch.randn(n, SIZE, generator=made)
    return x.clamp(0.1, 0.9).view(n, 1, 2, 4), y


def certified(x: Tensor, y: Tensor, epsilon: float) -> np.ndarray[Any, Any]:
    """Images that no attack takes from Linear: w_y x - w_j x > epsilon |w_y - w_j|_1 for all j."""
    w = (means() - 0.5).double().numpy()
    x_, y_ = (x.flatten(1) - 0.5).double().numpy(), y.numpy()
    kept = []
    for at, label in zip(x_, y_, strict=True):
        gaps = [
            (w[label] - w[j]) @ at - epsilon * np.abs(w[label] - w[j]).sum()
            for j in range(CLASSES)
            if j != label
        ]
        kept.append(min(gaps) > 0)
    return np.array(kept)


# --- evaluate -----------------------------------------------------------------------------------


def test_accuracies_are_those_by_hand() -> None:
    x, y = data(50, 0.6)
    attacks = [dt.attacks.pgd(epsilon=EPSILON, steps=20), dt.attacks.bim(epsilon=0.1, steps=20)]
    found = dt.evaluate(Linear(), (x, y), attacks=attacks, batch_size=20)
    for name, epsilon in (("clean", 0.0), ("pgd", EPSILON), ("bim", 0.1)):
        right = certified(x, y, epsilon)
        assert 0 < right.mean() < 1
        assert np.array_equal(found[name].correct, right), name
        assert found[name].accuracy == pytest.approx(right.mean())
        assert found[name].interval.low < right.mean() < found[name].interval.high
    assert found.accuracy == found["bim"].accuracy == found.votes
    assert (found.images, found.lucky, found.random.random) == (50, 0.0, False)


def test_any_kind_of_data_gives_the_same() -> None:
    x, y = data(17, 0.2)
    attacks = [dt.attacks.fgsm(epsilon=0.05)]

    def generated() -> Iterator[tuple[Tensor, Tensor, str]]:
        for start in range(0, 17, 10):
            yield x[start : start + 10], y[start : start + 10].int(), "beside"

    kinds: list[Any] = [(x, y), [(x, y)], DataLoader(TensorDataset(x, y), 10), generated()]
    found = [dt.evaluate(Linear(), kind, attacks, batch_size=5) for kind in kinds]
    for each in found:
        assert np.array_equal(each["fgsm"].correct, found[0]["fgsm"].correct)


def test_no_more_than_a_batch_meets_the_model() -> None:
    model = Linear()
    dt.evaluate(model, data(25, 0.2), [dt.attacks.pgd(epsilon=0.05, steps=2)], batch_size=7)
    assert max(model.seen) <= 8  # the randomness is asked about of 8


def test_a_batch_too_large_for_the_device_is_halved() -> None:
    class Small(Linear):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 8:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    x, y = data(30, 0.2)
    found = dt.evaluate(Small(), (x, y), [dt.attacks.bim(epsilon=0.1, steps=9)])
    assert np.array_equal(found["bim"].correct, certified(x, y, 0.1))


def test_a_random_model_is_scored_by_draws_and_nothing_of_the_caller_changes() -> None:
    x, y = data(40, 0.2)
    model = Linear(noise=0.3)
    before = (torch.get_rng_state(), np.random.get_state()[1], random.getstate())
    attacks = [dt.attacks.pgd(epsilon=0.0, steps=1), dt.attacks.fgsm(epsilon=0.1)]
    loader = DataLoader(TensorDataset(x, y), 16)
    found = dt.evaluate(model, loader, attacks, samples=20)
    again = dt.evaluate(model, loader, attacks, samples=20)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.asarray(np.random.get_state()[1]), np.asarray(before[1]))
    assert random.getstate() == before[2]
    assert found.random.sources == ("torch's global generators",) and not found.random.shared
    assert found.clean.answers.draws == 20 and 0 < found["fgsm"].lucky < 1
    for name in ("clean", "pgd", "fgsm"):
        assert np.array_equal(found[name].correct, again[name].correct)
    assert np.array_equal(found["pgd"].correct, found.clean.correct)  # common random numbers


def test_an_interrupted_evaluation_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = data(40, 0.2)
    attacks = [dt.attacks.pgd(epsilon=0.05, steps=3)]
    whole = dt.evaluate(Linear(0.1), (x, y), attacks, samples=5, batch_size=10)
    done: list[str] = []
    measured = evaluation._Run._measured

    def stopped(self: Any, attack: Any, label: str, *rest: Any) -> Any:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(label)
        return measured(self, attack, label, *rest)

    settings: dict[str, Any] = {"samples": 5, "batch_size": 10, "cache": tmp_path / "kept"}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(evaluation._Run, "_measured", stopped)
        dt.evaluate(Linear(0.1), (x, y), attacks, **settings)
    assert len(done) == 5
    done.clear()
    monkeypatch.setattr(
        evaluation._Run,
        "_measured",
        lambda self, attack, label, *rest: (
            done.append(label) or measured(self, attack, label, *rest)  # type: ignore[func-returns-value]
        ),
    )
    found = dt.evaluate(Linear(0.1), (x, y), attacks, **settings)
    assert done == ["pgd 2", "clean 3", "pgd 3"]
    for name in ("clean", "pgd"):
        assert np.array_equal(found[name].correct, whole[name].correct)
    dt.evaluate(Linear(0.2), (x, y), attacks, **settings)  # another model
    assert len(done) == 3 + 8


class Tiring(Linear):
    """Answers wrongly after `calls` forwards, which a buffer counts."""

    def __init__(self, calls: int) -> None:
        super().__init__()
        self.calls = calls
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return super().forward(x) if self.count <= self.calls else -super().forward(x)


def test_the_look_for_randomness_leaves_no_mark_in_buffers() -> None:
    x, y = data(40, 0.05)
    other, model = Tiring(10), Tiring(10)
    by_hand = [other(x).argmax(1) == y for _ in range(3)]
    found = dt.evaluate(model, (x, y), samples=3)
    assert torch.stack(by_hand).float().mean() == found.accuracy == 1.0
    assert not found.random.controlled and model.count == 0


def test_another_s_attack_is_a_callable() -> None:
    x, y = data(20, 0.2)

    def brighter(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return (x + 0.05).clamp(0, 1)

    found = dt.evaluate(Linear(), (x, y), [brighter, brighter])
    assert [score.name for score in found.scores] == ["clean", "brighter", "brighter #2"]
    assert "brighter #2: " in str(found) and "20 images, 1 draw; deterministic" in str(found)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"data": data(3, 0.1)[0]}, "the data must be tensors (x, y) or batches"),
        ({"data": []}, "the data holds no image"),
        ({"data": [(torch.rand(3, 4), 2)]}, "wrap a dataset in torch.utils.data.DataLoader"),
        ({"data": [{"x": 1}]}, "a batch must be (x, y), got dict"),
        ({"data": (torch.rand(3, 4), torch.zeros(2).long())}, "give one label for each input"),
        ({"data": (torch.rand(3, 8) * 255, torch.zeros(3).long())}, "outside the bounds"),
        ({"model": lambda x: x}, "must be a torch.nn.Module, got function"),
        ({"samples": 0}, "samples must be a whole number, at least 1, got 0"),
        ({"samples": None}, "samples must be a whole number, at least 1, got None"),
        ({"samples": 256}, "samples must be at most 255, got 256"),
        ({"batch_size": 0}, "batch_size must be a whole number, at least 1"),
        ({"batch_size": 8.0}, "batch_size must be a whole number, at least 1, got 8.0"),
        ({"bounds": None}, "the bounds must be two numbers, got None"),
        ({"bounds": ("0", "1")}, "the bounds must be two numbers, got ('0', '1')"),
        ({"cache": 3}, "cache must be a folder's path, got 3"),
        ({"attacks": None}, "attacks must be a list, got NoneType"),
        ({"attacks": ["pgd"]}, "callable as attack(model, x, y), got str"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(wrong: dict[str, Any], complaint: str) -> None:
    given = {"model": Linear(), "data": data(3, 0.1)} | wrong
    with pytest.raises(UsageError) as caught:
        dt.evaluate(**given)
    assert complaint in str(caught.value) and "\n" not in str(caught.value)


def test_an_attack_that_overwrites_its_images_spoils_them_for_no_other() -> None:
    x, y = data(20, 0.1)
    kept, model = x.clone(), Linear()

    def grey(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return x.fill_(0.5)

    found = dt.evaluate(model, (x, y), attacks=[grey, dt.attacks.fgsm(epsilon=1e-6)])
    assert torch.equal(x, kept)
    assert found["fgsm"].accuracy == found.clean.accuracy == 1.0


def test_a_model_that_overwrites_its_input_is_audited_as_one_that_does_not() -> None:
    class Shifting(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.mul_(0.9))

    class Copying(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * 0.9)

    x, y = data(20, 0.1)
    kept, budget = x.clone(), {"steps": 2, "queries": 5, "images": 20}
    found, wanted = (dt.audit(of(), (x, y), epsilon=0.1, **budget) for of in (Shifting, Copying))
    assert torch.equal(x, kept)
    assert (found.accuracy, found.verdict) == (wanted.accuracy, wanted.verdict)


def test_an_attack_named_clean_leaves_the_clean_score() -> None:
    def clean(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return torch.full_like(x, 0.5)

    found = dt.evaluate(Linear(), data(20, 0.1), clean)
    assert [score.name for score in found.scores] == ["clean", "clean #2"]
    assert found.clean.accuracy == 1.0 > found["clean #2"].accuracy


def test_a_loader_of_unknown_length_is_read_to_its_end() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(zip(*data(25, 0.1), strict=True))

    assert dt.evaluate(Linear(), DataLoader(Stream(), batch_size=10)).images == 25


def test_one_attack_may_stand_without_a_list() -> None:
    attack = dt.attacks.fgsm(epsilon=0.1)
    one, listed = (dt.evaluate(Linear(), data(9, 0.2), given) for given in (attack, [attack]))
    assert str(one) == str(listed)


def test_a_score_that_was_not_run_is_one_line_and_a_key_error() -> None:
    found = dt.evaluate(Linear(), data(3, 0.1), dt.attacks.pgd(epsilon=0.1, steps=1))
    for kind in (UsageError, KeyError):
        with pytest.raises(kind) as caught:
            found["fgsm"]
        assert str(caught.value) == "'fgsm' was not run: take one of clean, pgd"


# --- audit --------------------------------------------------------------------------------------

QUICK: dict[str, Any] = {"images": 40, "steps": 4, "queries": 5, "samples": 2, "scored": 4}


def test_a_network_of_known_truth_is_judged_right(tmp_path: Path) -> None:
    x, y = data(120, 0.05)
    truth = certified(x, y, EPSILON).mean()
    assert truth > 0.9
    settings: dict[str, Any] = {"epsilon": EPSILON, "images": 120, "steps": 10, "queries": 50}
    report = dt.audit(Linear(), (x, y), claim=0.6, cache=tmp_path / "kept", **settings)
    assert report.verdict == ROBUST, str(report)
    assert report.accuracy.estimate == pytest.approx(truth)
    assert not report.random.random
    other = dt.audit(Linear(), (x, y), cache=tmp_path / "kept", **settings)
    assert other.verdict == UNCLAIMED and other.accuracy == report.accuracy
    assert {check.name for check in report.checks if check.status == "fail"} == set()
    page, web = report.to_markdown(), report.to_html(tmp_path / "page.html")
    assert ROBUST in page and report.strongest in page and "4/255" in page
    assert (tmp_path / "page.html").read_text() == web and "<h1>Audit: Linear" in web
    assert json.loads(report.to_json())["verdict"]["words"] == ROBUST


def test_noise_in_front_is_seen_and_hides_nothing() -> None:
    x, y = data(60, 0.1)
    state = torch.get_rng_state()
    report = dt.audit(Linear(noise=0.1), (x, y), epsilon=0.3, claim=0.5, **QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    assert report.random.sources == ("torch's global generators",)
    assert report.verdict in (NOT_ROBUST, MASKED)
    assert "torch's global generators" in str(report)
    result = report.result
    sizes = f"{result['images']} images, {result['scored']} draws"
    level = f"{result['budget']['epsilon'] * result['unit']:g}"
    assert str(report).splitlines()[1] == f"  at ε = {level}, {sizes}: {report.reason}"


SCRIPT = np.random.default_rng(0)  # as a script has it at its top


class Blocks(nn.Module):
    """A stranger's: quantizes with a step of its own generator, its gradient passed straight."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(0)

    def forward(self, x: Tensor) -> Tensor:
        step = float(self.rng.uniform(0.01, 0.1))
        return x + (torch.round(x / step) * step - x).detach()


class Thinned(nn.Module):
    """A stranger's: activations left out by a generator that no module holds."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.as_tensor(SCRIPT.random(x.shape) > 0.2).to(x)


def test_a_stranger_s_parts_have_the_names_that_the_stranger_gave() -> None:
    """Whose draws no module holds, or one module; all are controlled, and truly named."""
    last = nn.Linear(SIZE, CLASSES)
    last.weight.data = means() - 0.5
    last.bias.data = -(means() - 0.5).sum(1) / 2
    model = nn.Sequential(Blocks(), nn.Flatten(), Thinned(), last).eval()
    report = dt.audit(model, data(60, 0.05), epsilon=0.4, claim=0.5, **QUICK)  # past half the way
    assert report.verdict in (NOT_ROBUST, MASKED)
    assert report.random.sources == ("generators of 0 (Blocks)", "generators of 2 (Thinned)")
    assert report.random.controlled and report.random.shared is False
    assert [layer["name"] for layer in report.result["layers"]] == ["input", "3"]
    assert "nothing is random" not in "".join(check.reason for check in report.checks)


@torch.no_grad()
def without_grad(x: Tensor) -> Tensor:
    return 1.0 * x


CUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "detach": lambda x: x.detach(),
    "bytes": lambda x: (255 * x).round().byte().float() / 255,
    "numpy": lambda x: torch.as_tensor(x.detach().numpy().round(2)),
    "no_grad": without_grad,
}


class Cut(Linear):
    """No gradient of the logits by the input; that by the parameters is as it was."""

    def __init__(self, cut: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.cut(x))


@pytest.mark.parametrize("cut", CUTS)
def test_a_gradient_that_is_cut_is_masked_whether_or_not_parameters_have_one(cut: str) -> None:
    trainable, fixed = Cut(CUTS[cut]), Cut(CUTS[cut]).requires_grad_(False)
    found = [
        dt.audit(model, data(60, 0.05), epsilon=0.1, claim=0.5, **QUICK)
        for model in (trainable, fixed)
    ]
    assert {each.verdict for each in found} == {MASKED} and "do not vanish" in found[0].reason
    assert found[0].reason == found[1].reason and found[0].accuracy == found[1].accuracy


def test_a_gradient_of_zero_is_added_without_a_change_even_of_large_half_precision() -> None:
    """A sum of 70,000 ones is infinite in float16, and zero times it no number."""
    x = torch.ones(1, 70_000, dtype=torch.float16, requires_grad=True)
    logits = Whole(nn.Sequential(Constant()))(x)
    assert logits.tolist() == [[1.0, 2.0]]
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    assert not gradient.any()


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([[1.0, 2.0]]).expand(len(x), 2)


def test_an_audit_without_a_cache_leaves_no_file_and_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        dt.audit(Linear(), data(20, 0.1), epsilon=0.1, claim=0.5, **QUICK)
        gc.collect()
    assert [each for each in caught if each.category is ResourceWarning] == []
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_audit_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from defensive_tensorization.attacks import Attack

    given: dict[str, Any] = {"epsilon": 0.1, "claim": 0.5, "batch_size": 20, **QUICK}
    whole = dt.audit(Linear(), data(60, 0.1), **given)
    called: list[str] = []
    call = Attack.__call__

    def stopped(self: Attack, *rest: Any) -> Tensor:
        if len(called) == 9:
            raise KeyboardInterrupt
        called.append(self.name)
        return call(self, *rest)

    monkeypatch.setattr(Attack, "__call__", stopped)
    with pytest.raises(KeyboardInterrupt):
        dt.audit(Linear(), data(60, 0.1), cache=tmp_path, **given)
    first = len(called)
    monkeypatch.setattr(
        Attack, "__call__", lambda self, *rest: (called.append(self.name), call(self, *rest))[1]
    )
    found = dt.audit(Linear(), data(60, 0.1), cache=tmp_path, **given)
    attacks = len(found.result["attacks"]) - 2  # clean and best
    assert len(called) == 2 * attacks and first == 9  # two batches of each, none of them twice
    assert found.result["attacks"] == whole.result["attacks"]
    assert found.verdict == whole.verdict


def test_rounds_follow_the_advice() -> None:
    given: dict[str, Any] = {"epsilon": EPSILON, "images": 10, "steps": 2, "queries": 5}
    one = dt.audit(Linear(), data(120, 0.05), claim=0.6, **given)
    assert one.verdict.startswith("inconclusive: run ") and one.remedy["images"] > 10
    found = dt.audit(Linear(), data(120, 0.05), claim=0.6, rounds=5, **given)
    assert found.verdict == ROBUST and found.result["images"] > 10


@pytest.mark.parametrize("kind", ["iterator", "a short one", "shuffling loader"])
def test_later_rounds_go_on_in_data_that_was_read_once(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = data(12 if kind == "a short one" else 120, 0.05)
    whole = TensorDataset(x, y)
    batches = DataLoader(whole, 4, shuffle=kind == "shuffling loader")
    given: list[Tensor] = []

    def seen(of: Any, *rest: Any) -> dict[str, Any]:
        given.append(of.x)
        return examined(of, *rest)

    examined = api.examine
    monkeypatch.setattr(api, "examine", seen)
    settings: dict[str, Any] = {"epsilon": EPSILON, "claim": 0.6, "images": 10, "steps": 2}
    found = dt.audit(
        Linear(),
        batches if kind == "shuffling loader" else iter(batches),
        queries=5,
        rounds=2,
        **settings,
    )
    first, second = given
    assert len(first) == 10 and torch.equal(second[:10], first)
    assert len(second.unique(dim=0)) == len(second) == found.result["images"]
    if kind != "shuffling loader":
        assert torch.equal(second, x[: len(second)])


def test_more_images_than_there_are_are_those_there_are() -> None:
    x, y = data(12, 0.05)
    read = inputs.FirstImages(zip(x.split(5), y.split(5), strict=True))
    for wanted, there in ((3, 3), (7, 7), (4, 4), (50, 12), (60, 12)):
        assert torch.equal(read.take(wanted)[0], x[:there])


@pytest.mark.parametrize(
    "empty",
    [(torch.rand(0, 1, 2, 4), torch.zeros(0).long()), [], iter([])],
    ids=["pair", "list", "iterator"],
)
def test_data_without_an_image_is_one_line(empty: Any) -> None:
    for call in (
        lambda: dt.evaluate(Linear(), empty),
        lambda: dt.audit(Linear(), empty, epsilon=1),
    ):
        with pytest.raises(UsageError, match=r"^the data holds no image: give at least one$"):
            call()


def test_an_empty_batch_among_others_counts_nothing() -> None:
    x, y = data(9, 0.2)
    found = dt.evaluate(Linear(), [(x[:4], y[:4]), (x[:0], y[:0]), (x[4:], y[4:])])
    assert found.images == 9
    assert found.accuracy == dt.evaluate(Linear(), (x, y)).accuracy


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"claim": 45}, "claim must lie in (0, 1], got 45: 0.45 means 45%"),
        ({"claim": 0.0}, "claim must lie in (0, 1], got 0.0"),
        ({"claim": "45%"}, "claim must lie in (0, 1], got '45%'"),
        ({"epsilon": "8/255"}, "epsilon must be a positive number, got '8/255'"),
        ({"epsilon": None}, "epsilon must be a positive number, got None"),
        ({"rounds": 1.5}, "rounds must be a whole number, at least 1, got 1.5"),
        ({"epsilon": 0}, "epsilon must be a positive number"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"images": 0}, "images must be a whole number, at least 1"),
        ({"cache": __file__}, "is a file: name a folder"),
        ({"cache": 3}, "cache must be a folder's path, got 3"),
        ({"bounds": ("0", "1")}, "the bounds must be two numbers, got ('0', '1')"),
        ({"surrogate": "dense"}, "the surrogate must be a torch.nn.Module, got str"),
        (
            {"data": [data(3, 0.1), (torch.rand(3, 1, 4), torch.zeros(3).long())]},
            "inputs of one shape, got batches of [1, 2, 4] and [1, 4]: resize",
        ),
    ],
)
def test_what_cannot_be_audited_is_one_line(wrong: dict[str, Any], complaint: str) -> None:
    given: dict[str, Any] = {"data": data(5, 0.1), "epsilon": 0.1} | wrong
    with pytest.raises(UsageError) as caught:
        dt.audit(Linear(), **given)
    assert complaint in str(caught.value) and "\n" not in str(caught.value)


class Answering(nn.Module):
    """One class's logit is always `answer`."""

    def __init__(self, answer: float) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Tensor:
        made = x.flatten(1)[:, :2].clone()
        made[:, 0] = self.answer
        return made


@pytest.mark.parametrize("answer", [math.inf, -math.inf])
def test_an_audit_refuses_infinite_answers_as_an_evaluation_does(answer: float) -> None:
    told = []
    runs: list[Callable[..., Any]] = [dt.evaluate, partial(dt.audit, epsilon=0.1, **QUICK)]
    for run in runs:
        with pytest.raises(UsageError) as caught:
            run(Answering(answer), data(5, 0.1))
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert told[0].startswith("clean 0: the model's answers are infinite or no numbers")


@pytest.mark.parametrize("given", ["none", "itself", "another"])
def test_an_audit_guards_each_model_once(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard copies all parameters."""
    model, other = Linear(), Linear()
    surrogate = {"none": None, "itself": model, "another": other}[given]
    entered: dict[str, list[nn.Module]] = {"unchanged": [], "sources": []}
    for name, found in entered.items():

        def counted(real: Any, found: list[nn.Module], of: nn.Module) -> Any:
            found.append(of)
            return real(of)

        monkeypatch.setattr(api, name, partial(counted, getattr(api, name), found))
    dt.audit(model, data(5, 0.1), epsilon=0.1, surrogate=surrogate, **QUICK)
    expected = [model, other] if given == "another" else [model]
    assert entered == {"unchanged": expected, "sources": expected}


def test_numbers_of_any_type_are_those_numbers() -> None:
    plain: dict[str, Any] = {"epsilon": 0.125, "claim": 0.25, "bounds": (0.0, 1.0), **QUICK}
    other: dict[str, Any] = {
        **{key: np.int64(value) for key, value in QUICK.items()},
        "epsilon": np.float32(0.125),
        "claim": np.float32(0.25),
        "bounds": (torch.tensor(0.0), torch.tensor(1)),
    }
    one, two = (dt.audit(Linear(), data(9, 0.1), **given) for given in (plain, other))
    for report in (one, two):
        report.result.pop("facts")  # times
    assert one.to_json() == two.to_json()


def test_the_core_s_packages_are_enough() -> None:
    """No extra is imported: neither Hydra nor SciPy, Foolbox, matplotlib or tqdm."""
    program = (
        "import sys\n"
        "absent = 'hydra omegaconf scipy foolbox matplotlib tqdm sklearn PIL markdown'\n"
        "for name in absent.split():\n"
        "    sys.modules[name] = None\n"
        "import torch\nimport defensive_tensorization as dt\n"
        "net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 3)).eval()\n"
        "x, y = torch.rand(6, 1, 2, 4), torch.arange(6) % 3\n"
        "print(dt.evaluate(net, (x, y), [dt.attacks.eot_pgd(epsilon=0.1, steps=2)]))\n"
        "report = dt.audit(net, (x, y), epsilon=0.1, steps=2, queries=2)\n"
        "print(report, len(report.to_html()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "eot_pgd: " in done.stdout and "strongest attack: " in done.stdout

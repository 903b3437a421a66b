"""The attacks as Foolbox 1.8 ran them: against Foolbox 1.8 itself, and by hand."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.command import ended as ended_command
from helpers.fake_task import split, task
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.attacks import OUTCOMES, Attack, Ended, foolbox1, step_count
from defensive_tensorization.attacks.in_units import (
    bim,
    fgsm,
    foolbox1_bim,
    foolbox1_fgsm,
    foolbox1_pgd,
)
from defensive_tensorization.attacks.native import ascend
from defensive_tensorization.attacks.scoring import score_logits
from defensive_tensorization.config import CONFIGS, Config, checked
from defensive_tensorization.config import attack as rules
from defensive_tensorization.config.compose import _from_our_files
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment.classifier import Classifier
from defensive_tensorization.experiment.evaluate import evaluate
from defensive_tensorization.experiment.evaluation_config import eval_config_hash
from defensive_tensorization.experiment.plan import attacks
from defensive_tensorization.models.batchnorm import DrawBatchNorm2d, Recalibrated
from defensive_tensorization.results.row import Row
from defensive_tensorization.results.row import given as given_outcome
from defensive_tensorization.sketching.draws import Uniform
from defensive_tensorization.tucker import TuckerConv2d

FIXTURE = np.load(Path(__file__).parent / "fixtures" / "foolbox1.npz")
ABOUT = json.loads(str(FIXTURE["about"]))
UNIT, SIZES = ABOUT["unit"], ABOUT["sizes"]
X, Y = torch.tensor(FIXTURE["images"]).double(), torch.tensor(FIXTURE["labels"])
N, HIDDEN = len(X), len(FIXTURE["b1"])
IMAGES = (0.0, 1.0)

CASES: dict[str, Callable[[float], Attack]] = {
    "fgsm_1000": lambda size: foolbox1_fgsm(epsilon=size, unit=UNIT),
    "fgsm_30": lambda size: foolbox1_fgsm(epsilon=size, unit=UNIT, sizes=30),
    "fgsm_listed": lambda size: foolbox1_fgsm(epsilon=size, unit=UNIT, sizes="listed"),
    "bim_off": lambda size: foolbox1_bim(epsilon=size, unit=UNIT),
    "bim_on": lambda size: foolbox1_bim(epsilon=size, unit=UNIT, binary_search="on"),
    "pgd_off": lambda size: foolbox1_pgd(epsilon=size, unit=UNIT),
}
MAKES = {"fgsm": foolbox1_fgsm, "bim": foolbox1_bim, "pgd": foolbox1_pgd}


class Network(nn.Module):
    """The fixture's, in torch; its random one keeps each hidden unit with a probability."""

    def __init__(self, keep: float | None = None) -> None:
        super().__init__()
        for name in ("w1", "b1", "w2", "b2"):
            self.register_buffer(name, torch.tensor(FIXTURE[name]).double())
        self.keep = keep
        if keep is not None:
            self.sketch = Uniform()
        self.predicted = self.differentiated = 0  # images

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.differentiated += len(x)
        else:
            self.predicted += len(x)
        h = torch.tanh(4 * ((2 * x.flatten(1) - 1) @ self.w1.T + self.b1))
        if self.keep is not None:
            drawn = self.sketch.draw(x.device, len(x), size=HIDDEN)
            assert drawn is not None and drawn[0] is not None
            h = h * (drawn[0] < self.keep)
        return h @ self.w2.T + self.b2


def ended(attack: Attack, model: nn.Module, x: Tensor = X, y: Tensor = Y) -> Ended:
    assert attack.ended is not None
    found: Ended = attack.ended(model, x, y, IMAGES, attack.radius)
    return found


# --- Foolbox 1.8 itself -------------------------------------------------------------------------


def test_the_fixture_says_what_made_it() -> None:
    assert ABOUT["versions"]["foolbox"] == "1.8.0"
    assert {"seed", "keep", "rounds", "packages"} <= ABOUT.keys()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", CASES)
def test_the_examples_are_foolbox_s(
    case: str, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = torch.tensor(FIXTURE[f"{case}_{size}"]).double()
    nothing = theirs.isnan().flatten(1).any(1)
    unperturbed = (theirs == X).flatten(1).all(1)
    starts = torch.tensor(FIXTURE["noise"])[~unperturbed]  # which are all that are attacked
    monkeypatch.setattr(foolbox1, "uniform", lambda x: starts)
    network = Network().eval()
    ours = ended(CASES[case](size), network)
    assert torch.equal(ours.outcome == OUTCOMES.index("nothing"), nothing)
    assert torch.equal(ours.outcome == OUTCOMES.index("unperturbed"), unperturbed)
    assert 0 < int(unperturbed.sum()) < int((~nothing).sum())
    torch.testing.assert_close(ours.x, torch.where(theirs.isnan(), X, theirs), atol=1e-6, rtol=0)
    beyond = (ours.x - X).abs().flatten(1).amax(1) > size * UNIT + 1e-6
    assert torch.equal(ours.outcome == OUTCOMES.index("beyond"), beyond)
    assert bool(beyond.any()) == (case == "bim_on")
    assert not ours.robust.any()
    # who has stopped is in no further forward: image by image Foolbox asks as often
    calls = torch.tensor(FIXTURE[f"predictions_{case}_{size}"])
    assert network.predicted == int(calls.sum())
    gradients = int((~unperturbed).sum()) if "fgsm" in case else int((calls - 1).sum())
    assert network.differentiated == gradients


def shares(attack: Attack, rounds: int) -> np.ndarray:
    """Of the random network: nothing found, missed unperturbed, right on a fresh draw; [3, R]."""
    network = Network(ABOUT["keep"])
    sketching.seed(network, 0)
    torch.manual_seed(0)
    together = rounds if dict(attack.options)["draw_per"] == "image" else 1
    x, y = X.repeat(together, 1, 1, 1), Y.repeat(together)
    found = []
    for _ in range(rounds // together):
        made = ended(attack, network, x, y)
        with torch.no_grad(), sketching.per_sample(network):
            right = network(made.x).argmax(1) == y
        kinds = [made.outcome == OUTCOMES.index(name) for name in ("nothing", "unperturbed")]
        found.append(torch.stack([*kinds, right]).view(3, together, N).double().mean(2))
    return torch.cat(found, 1).numpy()


def apart(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Standard errors between our shares [3, R] and Foolbox's answers [3, R, N]."""
    chance = theirs.mean(1)
    variance = (chance * (1 - chance)).mean(1) / (N * theirs.shape[1])  # images by themselves
    error = np.sqrt(variance + ours.var(1, ddof=1) / ours.shape[1])
    return np.abs(ours.mean(1) - theirs.mean((1, 2))) / np.maximum(error, 1e-3)


RANDOM = [case for case in CASES if case != "fgsm_1000"]


@pytest.mark.parametrize("draw_per", ["image", "batch"])
@pytest.mark.parametrize("case", RANDOM)
def test_on_a_random_network_the_accuracies_are_foolbox_s(case: str, draw_per: str) -> None:
    rounds = 60 if draw_per == "image" else {"bim_on": 5, "fgsm_30": 24}.get(case, 40)
    for size in SIZES if draw_per == "image" and case != "bim_on" else (8,):
        readings: dict[str, Any] = dict(CASES[case](size).options) | {"draw_per": draw_per}
        attack = MAKES[case.partition("_")[0]](epsilon=size, unit=UNIT, **readings)
        gaps = apart(shares(attack, rounds), FIXTURE[f"random_{case}_{size}"])
        assert gaps.max() < 4, (size, gaps)


def test_so_it_tells_readings_apart() -> None:
    single = foolbox1_fgsm(epsilon=8, unit=UNIT, sizes="single", draw_per="image")
    assert apart(shares(single, 60), FIXTURE["random_fgsm_listed_8"]).max() > 8
    off = foolbox1_bim(epsilon=2, unit=UNIT, draw_per="image")
    assert apart(shares(off, 60), FIXTURE["random_bim_on_2"]).max() > 8


# --- beside the full budget ---------------------------------------------------------------------


def accuracy(model: nn.Module, x: Tensor) -> float:
    with torch.no_grad():
        return float((model(x).argmax(1) == Y).float().mean())


@pytest.mark.parametrize("size", SIZES)
def test_where_nothing_is_random_stopping_changes_no_accuracy(size: float) -> None:
    network = Network().eval()
    single = foolbox1_fgsm(epsilon=size, unit=UNIT, sizes="single")
    for early, full in (
        (single, fgsm(epsilon=size, unit=UNIT)),
        (foolbox1_bim(epsilon=size, unit=UNIT), bim(epsilon=size, unit=UNIT)),
    ):
        kept = accuracy(network, full(network, X, Y, IMAGES))
        assert accuracy(network, early(network, X, Y, IMAGES)) == kept
        assert 0 < kept < accuracy(network, X)
    # a search over smaller sizes adds what misses on the way alone
    searched = foolbox1_fgsm(epsilon=size, unit=UNIT, sizes=100)(network, X, Y, IMAGES)
    assert accuracy(network, searched) <= accuracy(network, single(network, X, Y, IMAGES))


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_it_finds_what_the_full_budget_passes_on_its_way(
    size: float, random_start: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away from the bounds, to which the full budget clips its start; Foolbox 1.8 did not."""
    network, inner = Network().eval(), 0.2 + 0.6 * X
    with torch.no_grad():
        y = network(inner).argmax(1)
    noise = torch.rand(X.shape, generator=torch.Generator().manual_seed(3)).double() * 2 - 1
    monkeypatch.setattr(foolbox1, "uniform", lambda x: noise)
    make = foolbox1_pgd if random_start else foolbox1_bim
    early = ended(make(epsilon=size, unit=UNIT), network, inner, y)
    start = inner + noise * size * UNIT if random_start else inner
    given_: dict[str, Any] = {"radius": size * UNIT, "step_size": UNIT}
    way = [
        ascend(network, start, inner, y, IMAGES, **given_, steps=steps)
        for steps in range(1, step_count(size) + 1)
    ]
    with torch.no_grad():
        missed = torch.stack([network(each).argmax(1) != y for each in way])
    found = missed.any(0)
    assert torch.equal(early.outcome == OUTCOMES.index("found"), found)
    assert 0 < int(found.sum()) < N
    first = torch.stack(way)[missed.int().argmax(0), torch.arange(N)]
    expected = torch.where(found.view(-1, 1, 1, 1), first, inner)
    torch.testing.assert_close(early.x, expected, atol=1e-9, rtol=0)
    came_back = found & ~missed[-1]  # the only ones whose accuracy stopping changes
    assert int(came_back.sum()) <= 2


# --- by hand ------------------------------------------------------------------------------------


class Threshold(nn.Module):
    """Class 0 up to a brightness, class 1 above."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at, self.sizes = at, []

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            self.sizes.append(len(x))
        value = x.flatten(1).mean(1) - self.at
        return torch.stack([-value, value], 1)


def grey(*values: float) -> tuple[Tensor, Tensor]:
    x = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return x, torch.zeros(len(values), dtype=torch.long)


@pytest.mark.parametrize("searched", ["on", "within"])
def test_a_binary_search_finds_the_distance_to_the_boundary(searched: str) -> None:
    x, y = grey(0.5, 0.58, 0.595, 0.7)  # 0.1, 0.02, 0.005 away from the boundary; beyond it
    attack = foolbox1_bim(epsilon=8, unit=UNIT, binary_search=searched)  # 0.031
    made = ended(attack, Threshold(0.6), x, y)
    found = (made.x - x).flatten(1).amax(1)
    torch.testing.assert_close(found, torch.tensor([0.1, 0.02, 0.005, 0]), atol=1e-5, rtol=0)
    names = [OUTCOMES[i] for i in made.outcome.tolist()]
    assert names == ["beyond", "found", "found", "unperturbed"]
    assert made.robust.tolist() == [searched == "within", False, False, False]


def test_without_one_it_stops_at_the_first_step_that_misses() -> None:
    x, y = grey(0.5, 0.589, 0.5955, 0.7)  # 2.8 and 1.15 levels below the boundary
    made = ended(foolbox1_bim(epsilon=8, unit=UNIT), Threshold(0.6), x, y)
    assert [OUTCOMES[i] for i in made.outcome.tolist()] == [
        *("nothing", "found", "found", "unperturbed")
    ]
    levels = (made.x - x).flatten(1).amax(1) / UNIT
    torch.testing.assert_close(levels, torch.tensor([0.0, 3, 2, 0]), atol=1e-4, rtol=0)


def test_a_search_gives_up_after_twenty_enlargements() -> None:
    model, (x, y) = Threshold(9.0), grey(0.5, 0.6)
    made = ended(foolbox1_bim(epsilon=2, unit=UNIT, binary_search="on"), model, x, y)
    assert made.outcome.tolist() == [OUTCOMES.index("nothing")] * 2 and torch.equal(made.x, x)
    assert model.sizes == [2] * (1 + 20 * 2)  # and halves nothing


def test_fgsm_s_sizes_by_hand() -> None:
    x, y = grey(0.5, 0.5895, 0.598)  # 2.68 and 0.51 levels away: of 100 sizes 34th, 7th
    model = Threshold(0.6)
    made = ended(foolbox1_fgsm(epsilon=8, unit=UNIT, sizes=100), model, x, y)
    sizes = (made.x - x).flatten(1).amax(1) / UNIT
    # the 34th ends it; the 7th has 20 parts tried, of which the 19th misses: 0.07 x 8 x 19 / 20
    torch.testing.assert_close(sizes, torch.tensor([0.0, 2.72, 0.532]), atol=1e-4, rtol=0)
    assert model.sizes == [3] + [3] * 7 + [2] * 27 + [1] * 66 + [2] * 19 + [1]
    single = Threshold(0.6)
    ended(foolbox1_fgsm(epsilon=8, unit=UNIT, sizes="single"), single, x, y)
    assert single.sizes == [3, 3]
    listed = Threshold(0.6)
    ended(foolbox1_fgsm(epsilon=8, unit=UNIT, sizes="listed"), listed, x, y)
    assert listed.sizes == [3, 3] + [1] * 20


def test_what_is_missed_unperturbed_is_not_attacked() -> None:
    x, y = grey(0.7, 0.8)
    for case in CASES:
        model = Threshold(0.6)
        made = ended(CASES[case](8), model, x, y)
        assert torch.equal(made.x, x) and model.sizes == [2], case
        assert made.outcome.tolist() == [OUTCOMES.index("unperturbed")] * 2


def test_at_epsilon_0_nothing_is_attacked() -> None:
    for case in CASES:
        model, (x, y) = Threshold(0.6), grey(0.5, 0.7)
        made = ended(CASES[case](0), model, x, y)
        assert torch.equal(made.x, x) and model.sizes == [2], case


@settings(max_examples=25)
@given(
    size=st.floats(0.5, 30),
    case=st.sampled_from([case for case in CASES if case not in ("fgsm_1000", "bim_on")]),
    bounds=st.sampled_from([(0.0, 1.0), (-1.0, 1.0)]),
)
def test_examples_keep_to_the_ball_and_the_bounds(
    size: float, case: str, bounds: tuple[float, float]
) -> None:
    low, high = bounds
    x, attack = low + (high - low) * X, CASES[case](size)
    assert attack.ended is not None
    made = attack.ended(Network(), x, Y, bounds, attack.radius)
    assert float((made.x - x).abs().max()) <= attack.radius + 1e-6
    assert low <= float(made.x.min()) and float(made.x.max()) <= high
    assert not made.x.requires_grad


# --- draws --------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw_per", ["batch", "image"])
@pytest.mark.parametrize("make", [foolbox1_fgsm, foolbox1_bim, foolbox1_pgd])
def test_every_forward_and_gradient_has_draws_of_its_own(
    make: Callable[..., Attack], draw_per: str
) -> None:
    model = Network(ABOUT["keep"])
    seen: list[int] = []
    model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    with sketching.record(model) as ledger:
        ended(make(epsilon=8, unit=UNIT, draw_per=draw_per), model)
    (draws,) = ledger.draws.values()
    masks = [each[0] for each in draws if each is not None]
    assert len(masks) == len(seen) and seen[0] == N > seen[-1]  # the batch shrinks
    each = torch.cat([mask.view(-1, HIDDEN) for mask in masks if mask is not None])
    assert len(each) == (sum(seen) if draw_per == "image" else len(seen))
    assert len(each.unique(dim=0)) == len(each)


def test_recalibrated_batchnorm_and_layouts_are_met_as_they_are() -> None:
    torch.manual_seed(0)
    conv = TuckerConv2d.from_conv(nn.Conv2d(2, 6, 3), 0.7, init="random")
    layers = (conv, DrawBatchNorm2d(6, "recalibrated"), nn.Flatten(), nn.Linear(96, 5))
    model = Recalibrated(nn.Sequential(*layers), X[:8].float()).eval()
    x = X.float().contiguous(memory_format=torch.channels_last)
    for case in ("fgsm_30", "bim_off", "pgd_off"):
        made = ended(CASES[case](8), model, x)
        assert made.x.is_contiguous(memory_format=torch.channels_last), case
        assert float((made.x - x).abs().max()) <= 8 * UNIT + 1e-6


# --- in a row -----------------------------------------------------------------------------------


def test_what_counts_as_correct_is_not_scored() -> None:
    x, y = grey(0.5, 0.58, 0.7, 0.59)
    scored = {}
    for reading in ("clean", "correct"):
        attack = foolbox1_bim(epsilon=8, unit=UNIT, not_found=reading)
        made = ended(attack, Threshold(0.6), x, y)
        wrong = torch.tensor([[[0.0, 1.0]] * 4] * 3)  # whatever is scored is wrong
        scored[reading] = score_logits(wrong, y, made)
    assert scored["clean"].correct.tolist() == [0, 0, 0, 0]
    assert scored["correct"].correct.tolist() == [3, 0, 0, 0]
    assert scored["correct"].majority.tolist() == scored["correct"].probability.tolist()
    assert scored["correct"].majority.tolist() == [True, False, False, False]
    assert scored["correct"].by_draw.tolist() == [1, 1, 1]
    assert scored["correct"].outcomes() == "found=2:0 nothing=1:3 unperturbed=1:0"
    assert scored["correct"].head(1).outcomes() == "nothing=1:3"
    both = scored["clean"] + scored["correct"]
    assert both.outcomes() == "found=4:0 nothing=2:3 unperturbed=2:0"


@pytest.mark.parametrize("draws", [1, 3])
def test_an_evaluation_tells_what_became_of_the_images(draws: int) -> None:
    torch.manual_seed(0)
    conv = TuckerConv2d.from_conv(nn.Conv2d(3, 12, 5), 0.5, init="random")
    network = Classifier(nn.Sequential(conv, nn.Flatten(), nn.Linear(192, 4)), "float32")
    data = task(split(24), split(24))
    aims = [None, CASES["bim_off"](8), bim(epsilon=8, unit=UNIT)]
    clean, early, full = evaluate(network, data, data.test, aims, 0, 10, score_samples=draws)
    assert clean.answers.outcomes() == full.answers.outcomes() == ""
    assert early.answers.outcome is not None and len(early.answers.outcome) == 24
    told = early.answers.outcomes()
    row = made_row(outcomes=told, scored=draws)
    assert sum(images for images, _ in row.ended.values()) == 24
    right = sum(answers for _, answers in row.ended.values())
    assert right == early.answers.correct.sum() == round(early.robust_accuracy * 24 * draws)
    assert "unperturbed" in row.ended and "found" in row.ended


def made_row(**changes: Any) -> Row:
    from helpers.fake_rows import row

    made: Row = replace(row(), **changes)
    return made


def test_the_chance_of_being_correct_where_an_example_was_found() -> None:
    rows = [
        made_row(outcomes="found=6:18 nothing=2:20 unperturbed=2:5", scored=10),
        made_row(outcomes="found=4:22 nothing=6:60", scored=10),
    ]
    assert given_outcome(rows, "found") == (10, 0.4)
    assert given_outcome(rows, "found", "unperturbed") == (12, 45 / 120)
    assert given_outcome(rows, "beyond") == (0, None)
    record = json.loads(rows[0].to_json())
    assert Row.from_json(json.dumps(record), "here") == rows[0]
    del record["outcomes"]  # as in rows from before it was kept
    assert Row.from_json(json.dumps(record), "here").ended == {}


# --- in a configuration -------------------------------------------------------------------------

ALL = "attack=[foolbox1_fgsm,foolbox1_bim,foolbox1_pgd]"


@cache
def base(choice: str) -> DictConfig:
    return _from_our_files(str(CONFIGS), (choice, "eval.epsilon=[8]"))


def read(*overrides: str, choice: str = ALL) -> Config:
    """The configuration with these values, composed once for all."""
    config = base(choice).copy()
    for value in OverridesParser.create().parse_overrides(list(overrides)):
        OmegaConf.update(config, value.key_or_group, value.value(), force_add=True)
    return checked(config)


def test_the_three_are_attacks_of_the_command_line() -> None:
    found = {attack.name: attack for attack in attacks(read())}
    assert list(found) == ["foolbox1_fgsm", "foolbox1_bim", "foolbox1_pgd"]
    assert dict(found["foolbox1_fgsm"].options) == {
        **{"sizes": 1000, "not_found": "clean", "draw_per": "batch"}
    }
    for name, start in (("foolbox1_bim", False), ("foolbox1_pgd", True)):
        attack = found[name]
        assert (attack.steps, attack.random_start) == (10, start)
        assert dict(attack.options) == {
            **{"binary_search": "off", "not_found": "clean", "draw_per": "batch"}
        }


def test_a_reading_is_part_of_how_a_row_is_made() -> None:
    def identities(*overrides: str) -> list[str]:
        config = read(*overrides)
        return [eval_config_hash(config, attack) for attack in attacks(config)]

    usual = identities()
    for name, values in {
        "foolbox1_fgsm.sizes": ("100", "listed", "single"),
        "foolbox1_bim.binary_search": ("on", "within"),
        "foolbox1_pgd.not_found": ("correct",),
        "foolbox1_bim.draw_per": ("image",),
    }.items():
        own = ["foolbox1_fgsm", "foolbox1_bim", "foolbox1_pgd"].index(name.partition(".")[0])
        found = [
            identities(f"attack.{name}={value}", "model.batchnorm=running") for value in values
        ]
        plain = identities("model.batchnorm=running")
        assert len({plain[own], *(each[own] for each in found)}) == 1 + len(values)
        others = [[*each[:own], *each[own + 1 :]] for each in (plain, *found)]
        assert all(each == others[0] for each in others)
    spelled = [identities(f"attack.foolbox1_bim.binary_search={off}") for off in ("off", "false")]
    assert spelled == [usual, usual]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["attack.foolbox1_bim.binary_search=some"],
            "attack.foolbox1_bim.binary_search must be one of off, on, within, got 'some'",
        ),
        (
            ["attack.foolbox1_pgd.not_found=wrong"],
            "attack.foolbox1_pgd.not_found must be one of clean, correct, got 'wrong'",
        ),
        (
            ["attack.foolbox1_pgd.draw_per=pixel"],
            "attack.foolbox1_pgd.draw_per must be one of batch, image, got 'pixel'",
        ),
        *(
            (
                [f"attack.foolbox1_fgsm.sizes={value}"],
                "attack.foolbox1_fgsm.sizes must be a whole number, at least 1, listed or single, "
                f"got {shown}",
            )
            for value, shown in (("0", "0"), ("2.5", "2.5"), ("true", "True"), ("few", "'few'"))
        ),
        (
            ["+attack.foolbox1_fgsm.binary_search=on"],
            "attack.foolbox1_fgsm has no binary_search: leave attack.foolbox1_fgsm.binary_search "
            "out, or take foolbox1_bim or foolbox1_pgd",
        ),
        (
            ["attack=[fgsm]", "+attack.fgsm.binary_search=off"],
            "attack.fgsm has no binary_search: leave attack.fgsm.binary_search out, or take "
            "foolbox1_bim or foolbox1_pgd",
        ),
        (
            ["attack=[pgd]", "+attack.pgd.not_found=clean"],
            "attack.pgd has no not_found: leave attack.pgd.not_found out, or take foolbox1_fgsm, "
            "foolbox1_bim or foolbox1_pgd",
        ),
        *(
            (
                [f"attack.knowledge={held}"],
                f"attack.foolbox1_fgsm.knowledge={held} holds one draw, attack.foolbox1_fgsm meets "
                "a draw of its own at every forward: take knowledge=fresh, omniscient or blackbox",
            )
            for held in ("frozen", "transfer")
        ),
        (
            ["attack.foolbox1_bim.draw_per=image", "model.batchnorm=recalibrated"],
            "attack.foolbox1_bim.draw_per=image: with model.batchnorm=recalibrated the images of a "
            "batch have one draw: take draw_per=batch, or model.batchnorm=running",
        ),
        (
            [
                *("attack.foolbox1_bim.draw_per=image", "model.batchnorm=running"),
                "attack.knowledge=omniscient",
            ],
            "attack.foolbox1_bim.draw_per=image: an attacker with knowledge=omniscient meets no "
            "draws: take draw_per=batch",
        ),
    ],
)
def test_what_cannot_be_is_one_line(words: Sequence[str], line: str) -> None:
    values = [word for word in words if not word.startswith("attack=")]
    choice = next((word for word in words if word.startswith("attack=")), ALL)
    with pytest.raises(UsageError) as error:
        read(*values, choice=choice)
    assert str(error.value) == line


def test_the_command_line_ends_with_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["attack=[foolbox1_bim]", "attack.foolbox1_bim.binary_search=some"]
    assert ended_command(words, tmp_path, capsys) == (
        *(2, ""),
        "error: attack.foolbox1_bim.binary_search must be one of off, on, within, got 'some'\n",
    )


def test_the_library_refuses_alike_and_knows_the_same_readings() -> None:
    assert rules._READINGS == {
        "binary_search": foolbox1.BINARY_SEARCH,
        "not_found": foolbox1.NOT_FOUND,
        "draw_per": foolbox1.DRAW_PER,
    }
    assert rules._SIZES == foolbox1.SIZES
    for make, readings in (
        (foolbox1_fgsm, {"sizes": 0}),
        (foolbox1_bim, {"binary_search": "some"}),
        (foolbox1_pgd, {"not_found": "wrong"}),
        (foolbox1_fgsm, {"draw_per": "pixel"}),
        (foolbox1_bim, {"step_size": 0}),
    ):
        with pytest.raises(ValueError):
            make(epsilon=8, unit=UNIT, **readings)

"""The rules of an audit, each made to hold and to break; the verdict; models that are known."""

import csv
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from defensive_tensorization import config as cfg
from defensive_tensorization import sketching
from defensive_tensorization.attacks.agreement import GradientSums
from defensive_tensorization.auditing import attack_suite, checks, comparisons, gradients, measure
from defensive_tensorization.auditing.check import Check
from defensive_tensorization.auditing.comparisons import (
    AVERAGES,
    COMPARISONS,
    CONVERGED,
    ONE_DRAW,
    Comparison,
)
from defensive_tensorization.auditing.panel import MEMBERS, Noisy, Saturated, Stepped
from defensive_tensorization.auditing.strangers import (
    DropoutLeftOn,
    RandomMember,
    ResizeAndPad,
)
from defensive_tensorization.auditing.target import AuditTarget, Budget
from defensive_tensorization.auditing.verdict import MASKED, NOT_ROBUST, ROBUST, verdict
from defensive_tensorization.commands import audit
from defensive_tensorization.commands.audit_panel import panel
from defensive_tensorization.commands.stored_run import stored
from defensive_tensorization.config import Config, composed
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment.ensure import Trained, trained
from defensive_tensorization.experiment.plan import plan
from defensive_tensorization.randomness import seeded
from defensive_tensorization.report import audit_panel, audits
from defensive_tensorization.results.scores import Answers

N = 100
SETTINGS = {f"audit.{k}": v for k, v in {"images": N, "steps": 20, "draws": 10}.items()}
SETTINGS |= {"audit.restarts": 1, "audit.scored": 30, "audit.queries": 100}
MOST = {"audit.images": 1000, "audit.scored": 255}


def answers(right: int) -> Answers:
    """The first images right, under one draw."""
    each = np.arange(N) < right
    return Answers(each.astype(int), each, each, np.array([right]))


def left(**right: int) -> dict[str, Answers]:
    """An audit in which every attack but those named leaves 40."""
    names = [n for n in comparisons.TITLES if n != "white"]
    usual = {"clean": 90, "zero": 90, "large": 0, "double": 40, "noise": 85, "square": 60}
    return {n: answers((usual | right).get(n, 40)) for n in names}


# --- the rules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule", [*COMPARISONS, *CONVERGED, AVERAGES, ONE_DRAW], ids=lambda rule: rule.name
)
def test_a_comparison_fails_only_beyond_noise(rule: Comparison) -> None:
    def found(**right: int) -> Check:
        [made] = [
            each
            for each in comparisons.comparisons([rule], left(**right), attack_suite.WHITE)
            if each.name == rule.name
        ]
        return made

    assert found().status == "pass"
    white = dict.fromkeys(attack_suite.WHITE, 40) if rule.strong == "white" else {}
    assert found(**white, **{rule.weak: 39}).status == "pass"  # one image is no evidence
    broken = found(**white, **{rule.weak: 10})
    assert broken.status == "fail"
    assert broken.figures["difference"]["estimate"] == pytest.approx(0.3)
    assert broken.figures["difference"]["low"] > 0
    assert (broken.remedy != "") == (rule.kind == "convergence")


def test_what_was_not_run_is_skipped_and_says_why() -> None:
    found = {n: a for n, a in left().items() if n not in ("transfer", "omniscient", "draws")}
    every = [*COMPARISONS, *CONVERGED]
    made = {c.name: c for c in comparisons.comparisons(every, found, attack_suite.WHITE)}
    assert made["transfer"].status == made["more_draws"].status == "skipped"
    assert "no trained surrogate" in made["transfer"].reason
    assert "nothing is random" in made["omniscient"].reason
    assert made["square"].status == "pass"


def test_of_a_random_network_nobody_says_that_nothing_is_random() -> None:
    """Draws that are not this project's have no examples computed without them."""
    found = {n: a for n, a in left().items() if n != "omniscient"}
    made = comparisons.comparisons(CONVERGED, found, attack_suite.WHITE)
    [skipped] = [c for c in made if c.status == "skipped"]
    assert skipped.reason == "computed without randomness: another's draws cannot be left out"
    whys = [checks.signal(None, *told).reason for told in ((10, False), (10, True), (1, True))]
    assert whys == ["nothing is random", "no gradient is left", "one draw has no pairs"]


def test_many_comparisons_share_one_error() -> None:
    """Of independent fair coins, each looked at once: the level of one of m is 1 - 2 * 5% / m."""
    [only] = comparisons.comparisons(COMPARISONS[:1], left(), attack_suite.WHITE)
    several = comparisons.comparisons(COMPARISONS, left(), attack_suite.WHITE)
    assert only.figures["level"] == pytest.approx(0.9)
    assert several[0].figures["level"] == pytest.approx(1 - 0.1 / len(COMPARISONS))


def test_they_share_it_with_the_other_checks_of_their_kind() -> None:
    """9 comparisons and 3 of one measurement; `direction` asks for evidence, and has its own."""
    found = left()
    error = comparisons.share([*COMPARISONS, AVERAGES], found, others=len(checks.MEASURED))
    assert error == pytest.approx(0.05 / (len(COMPARISONS) + 4))
    [made] = comparisons.comparisons(COMPARISONS[:1], found, attack_suite.WHITE, error)
    assert made.figures["level"] == pytest.approx(1 - 2 * error)
    known = binomtest(20, 64).proportion_ci(1 - 2 * error, method="wilson")
    share = checks.vanishing(np.arange(64) < 20, error).figures["share"]
    assert (share["low"], share["high"]) == pytest.approx((known.low, known.high), abs=1e-12)


def test_the_other_rules_hold_and_break() -> None:
    chance = [checks.unbounded(found, 0.1, 0.05) for found in (left(), left(large=30))]
    blind = [checks.vanishing(np.arange(64) < n, 0.05) for n in (0, 3, 20)]
    explained = [checks.slope(np.arange(64) / 20, 0.05), checks.slope(np.arange(64) + 0.7, 0.05)]
    up, noise = np.full(50, 0.5) + np.arange(50) / 100, np.zeros(50)
    points = [checks.direction(a, b) for a, b in ((up, noise), (noise, up), (noise, noise))]
    sound = [
        checks.zero_epsilon(left(), 0.0),
        checks.zero_epsilon(left(), 1e-3),
        checks.zero_epsilon(left(zero=89), 0.0),  # a single image
    ]
    signal = [checks.signal(c, 10, True).status for c in (0.1, 0.09, None)]  # 1 / 11 is enough
    assert [c.status for c in chance] == ["pass", "fail"]
    assert [c.status for c in blind] == ["pass", "pass", "fail"]
    assert [c.status for c in explained] == ["fail", "pass"]  # 16 and 1 of 64 below 0.8
    assert [c.status for c in points] == ["pass", "fail", "fail"]
    assert [c.status for c in sound] == ["pass", "fail", "fail"]
    assert signal == ["pass", "fail", "skipped"]


# --- the verdict --------------------------------------------------------------------------------


def failing(kind: Any, remedy: str = "") -> Check:
    return Check("some", "Some rule", kind, "", "", "fail", "", remedy=remedy)


@pytest.mark.parametrize(
    ("failed", "right", "words"),
    [
        ([], {"best": 40}, ROBUST),
        ([], {"best": 0, "pgd": 0}, NOT_ROBUST),
        ([], {"best": 12}, "inconclusive: run audit.images=400"),
        (["masking"], {"best": 40}, MASKED),
        (["masking"], {"best": 0}, MASKED),
        (["randomness"], {"best": 0, "pgd": 40}, MASKED),
        (["randomness"], {"best": 0, "pgd": 9}, NOT_ROBUST),  # it never looked robust
        (["randomness"], {"best": 40, "pgd": 60}, ROBUST),  # averaging handles it
        (["convergence"], {"best": 40}, "inconclusive: run audit.steps=40"),
        (["convergence"], {"best": 0}, NOT_ROBUST),  # broken is broken
        (["convergence"], {"best": 12}, "inconclusive: run audit.images=400 audit.steps=40"),
        (["harness", "masking"], {"best": 0}, "inconclusive: run the audit again on a sound harn"),
    ],
)
def test_the_verdict_follows_from_what_failed_and_what_is_left(
    failed: list[str], right: dict[str, int], words: str
) -> None:
    made = [failing(kind, "audit.steps" if kind == "convergence" else "") for kind in failed]
    assert verdict(made, left(**right), 0.1, "eot", SETTINGS, MOST).words.startswith(words)


def test_the_setting_that_gains_most_is_asked_for() -> None:
    found = left(steps=30, draws=20, restarts=25)
    made = comparisons.comparisons(CONVERGED, found, attack_suite.WHITE)
    assert [c.status for c in made] == ["fail", "fail", "fail", "pass"]
    said = verdict(
        [*made, failing("convergence", "audit.steps")], found, 0.1, "eot", SETTINGS, MOST
    )
    assert said.remedy == {"audit.draws": 20}


def test_examples_without_randomness_that_win_ask_for_more_draws() -> None:
    """Full weights tell more than the average: no masking, but an average of too few draws."""
    found = left(omniscient=20)
    made = {c.name: c for c in comparisons.comparisons(CONVERGED, found, attack_suite.WHITE)}
    assert made["omniscient"].status == "fail"
    said = verdict([*made.values()], found, 0.1, "eot", SETTINGS, MOST)
    assert said.words == "inconclusive: run audit.draws=20"
    assert said.reason.startswith("the attack has not converged: 'Averaged draws beat none'; ")


def test_the_level_is_the_claim() -> None:
    words = [
        verdict([], left(best=40), level, "eot", SETTINGS, MOST).words for level in (0.1, 0.35, 0.9)
    ]
    assert words == [ROBUST, "inconclusive: run audit.images=400", NOT_ROBUST]


# --- each image's best example ------------------------------------------------------------------


def counted(*right: int, draws: int) -> Answers:
    each = np.array(right)
    return Answers(each, each > draws / 2, each > draws / 2, np.full(draws, each.sum() / draws))


def test_the_strongest_attack_gives_an_example_where_no_other_is_clearly_better() -> None:
    """Of 32 draws noise is 8: a count that is 8 lower is luck, one that is 9 lower is not. Of two
    that are as much better, the stronger over all images gives it, in whatever order they come."""
    weak = counted(2, 32, 1, 20, 0, draws=32)
    strongest = counted(10, 10, 10, 1, 0, draws=32)
    third = counted(2, 32, 1, 31, 1, draws=32)
    assert measure.choice([weak, strongest, third]).tolist() == [1, 1, 0, 1, 1]
    assert measure.choice([third, strongest, weak]).tolist() == [1, 1, 2, 1, 1]


def test_without_draws_any_attack_that_succeeds_gives_the_example() -> None:
    made = [counted(1, 0, 1, draws=1), counted(0, 1, 1, draws=1), counted(1, 1, 1, draws=1)]
    assert measure.choice(made).tolist() == [1, 0, 0]


def test_all_attacks_meet_the_same_draws_and_the_best_examples_others() -> None:
    """Of a network that is nothing but chance, other draws answer otherwise; size 0 is clean."""
    network = Noisy(nn.Flatten(), 1.0)
    x = torch.rand(20, 1, 2, 2, generator=torch.manual_seed(0)) / 10
    of = AuditTarget(network.eval(), x, torch.arange(20) % 4, (0.0, 1.0), 1 / 255, 4, 20)
    met = measure.run_attacks(of, Budget(0.5, steps=1, draws=1, queries=1, scored=7), 0)
    clean, zero = met.answers["clean"], met.answers["zero"]
    assert np.array_equal(clean.correct, zero.correct) and clean.correct.min() < 7
    same = {n: float(np.mean(a.correct == clean.correct)) for n, a in met.answers.items()}
    assert min(same[n] for n in same if n not in ("best", "large")) > 0.8 > same["best"]


# --- gradients ----------------------------------------------------------------------------------


def test_signal_noise_and_cosine_are_those_of_all_pairs() -> None:
    made = torch.randn(5, 3, 7, generator=torch.manual_seed(0)) + 1
    sums = GradientSums()
    for each in made:
        sums.add(each)
    snr, cosine = [], []
    for image in made.double().numpy().transpose(1, 0, 2):
        pairs = [(a, b) for i, a in enumerate(image) for j, b in enumerate(image) if i != j]
        signal = np.mean([a @ b for a, b in pairs])
        snr.append(signal / (np.mean([a @ a for a in image]) - signal))
        lengths = np.linalg.norm
        cosine.append(np.mean([a @ b / lengths(a) / lengths(b) for a, b in pairs]))
    assert sums.snr() == pytest.approx(np.median(snr))
    assert sums.cosine() == pytest.approx(np.median(cosine))
    assert sums.zero == 0


def test_a_gradient_that_vanishes_is_seen_in_every_layer_before() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 4))
    x, y = torch.rand(6, 3, 8, 8), torch.arange(6) % 4
    of = AuditTarget(Stepped(network, 7).requires_grad_(False), x, y, (0.0, 1.0), 1 / 255, 4, 6)
    found = gradients.layers(of, Budget(8), 0)
    assert [layer.name for layer in found] == ["input", "network.0", "network.2"]
    assert found[0].zero == 1 and gradients.profile(of, Budget(8), 0)[1].all()
    assert [layer.zero for layer in found[1:]] == [0, 0] and found[1].snr is None


class Marked(nn.Module):
    """Normal noise, and no gradient of the images whose first pixel is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(1) + 0.1 * torch.randn(len(x), x[0].numel())
        bright = x.flatten(1)[:, :1] > 0.5
        return torch.where(bright, flat.detach(), flat).square()


@pytest.mark.parametrize("batch_size", [100, 30])
def test_every_image_is_asked_whether_its_gradient_vanishes(batch_size: int) -> None:
    """Of more than the layers' signal is measured on: more images tell more (`Check.hides`)."""
    n = gradients.LOOKED + 16
    x = torch.rand(n, 1, 2, 2, generator=torch.manual_seed(0)) / 2
    bright = torch.rand(n) < 0.3
    x[bright, 0, 0, 0] = 0.9
    assert 0 < int(bright[gradients.LOOKED :].sum()) < 16
    of = AuditTarget(Marked(), x, torch.arange(n) % 4, (0.0, 1.0), 1 / 255, 4, n, None, batch_size)
    surface, blind = gradients.profile(of, Budget(8, draws=3), 0)
    assert blind.tolist() == bright.tolist() and surface["gradient"].shape[1] == n


# --- models of which it is known ----------------------------------------------------------------

SMALL = Budget(epsilon=48, steps=6, draws=2, queries=20, scored=6)


TENSORIZED = (
    *("defence=tensorization", "theta=0.9", "train.epochs=1", "train.init_epochs=1"),
    *("dataset=digits", "model=convnet", "model.width=4", "model.reference=8"),
    *("train.images=64", "train.batch_size=32", "logger=none"),
    *("audit.images=4", "audit.steps=2", "audit.draws=2", "audit.queries=2", "audit.scored=3"),
)


def folder(config: Config) -> list[str]:
    return [f"paths.runs={config.paths.runs}"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    runs = tmp_path_factory.mktemp("audits")
    words = ["dataset=digits", "model=convnet", "defence=none", "theta=1", "model.width=12"]
    budget = [f"audit.{k}={v}" for k, v in vars(SMALL).items()] + ["audit.images=40"]
    return composed([*words, *budget, f"paths.runs={runs}", "logger=none", "device=cpu"])


def test_the_verdicts_on_an_undefended_network_and_what_hides_it(config: Config) -> None:
    p = plan(config)
    network = trained(p).network
    told = {m.name: m for m in MEMBERS}
    for name in ("undefended", "noise", "saturated"):
        subject = audit.subject(p, network, told[name].wrap)
        result = audit.examine(subject, SMALL, 0, 0.1)
        assert result["verdict"]["words"] in told[name].right, (name, result["verdict"])
        assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_an_audit_without_a_twin_is_another_than_with_it(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was skipped for want of a twin must not stand once there is one."""
    monkeypatch.setattr(
        audit, "examine", lambda of, *_: {"verdict": {}, "twin": of.surrogate_model is not None}
    )
    monkeypatch.setattr(audit.audits, "write", lambda *_: [])
    found = {}
    for name in ("none", "one", "another"):
        twin = None if name == "none" else Trained(trained(plan(config)).network, name, "")
        monkeypatch.setattr(audit, "_twin", lambda _, twin=twin: twin)
        path = audit.audit(config, "test")
        found[path] = json.loads(path.read_text())["twin"]
    assert list(found.values()) == [False, True, True]


def test_a_trained_run_is_found_by_its_name_and_by_its_fingerprint(config: Config) -> None:
    p = plan(config)
    trained(p)
    words = [f"paths.runs={config.paths.runs}", "audit.epsilon=16"]
    for model in (p.name, p.weights_id, p.weights_id[:8]):
        made = stored(model, words)
        assert cfg.train_config_hash(made) == cfg.train_config_hash(config)
        assert (made.audit.epsilon, made.paths.runs) == (16, config.paths.runs)
    for word in ("theta=0.5", "tucker.min_keep=2"):
        with pytest.raises(UsageError, match=f"{word} says what .* was trained with"):
            stored(p.name, [*words, word])
    assert stored(p.name, [*words, "theta=1"]).theta == 1  # its own
    with pytest.raises(UsageError, match="MODEL=nosuch is no trained run of"):
        stored("nosuch", words)
    with pytest.raises(UsageError, match="an override changes what .* was trained from: leave"):
        stored(p.name, [*words, "model.width=13"])


def test_the_cache_of_a_moved_run_is_in_its_new_folder(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was = deepcopy(config)
    was.paths.runs, was.dataset.cache = "old", "old/cache"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "net.pt").touch()
    monkeypatch.setattr(
        "defensive_tensorization.training.checkpoint.described",
        lambda _: ("f" * 16, cfg.plain(was)),
    )
    assert stored("net", [f"paths.runs={tmp_path}"]).dataset.cache == f"{tmp_path}/cache"
    was.dataset.cache = "elsewhere"
    assert stored("net", [f"paths.runs={tmp_path}"]).dataset.cache == "elsewhere"


def test_the_file_is_made_once_and_its_page_says_the_verdict(config: Config) -> None:
    quick = deepcopy(config)
    quick.audit.steps = quick.audit.draws = quick.audit.queries = 2
    quick.audit.images = 8
    path = audit.audit(quick, "command", MEMBERS[0])
    stamp = path.stat().st_mtime_ns
    assert audit.audit(quick, "command", MEMBERS[0]) == path and path.stat().st_mtime_ns == stamp
    result = json.loads(path.read_text())
    page, web = (path.with_suffix(s).read_text() for s in (".md", ".html"))
    assert path.with_suffix(".png").stat().st_size > 5000
    for said in (result["verdict"]["words"], result["run_id"], "Square, no gradient"):
        assert said in page and said in web
    assert page.count("\n| pass |") + page.count("\n| **FAIL** |") + page.count(
        "\n| skipped |"
    ) == len(result["checks"])
    assert web.count("<script") == 0
    evil = result | {"name": "<b>x</b>"}
    assert "<b>x" not in audits.web(evil)


def test_a_control_is_audited_without_its_draws(config: Config) -> None:
    made = [
        audit.audit(composed([*TENSORIZED, *folder(config), f"eval.sketch={sketch}"]), "test")
        for sketch in ("true", "false")
    ]
    told = [json.loads(path.read_text()) for path in made]
    assert [each["random"] for each in told] == [True, False]
    assert [each["scored"] for each in told] == [3, 1]
    assert "-unsketched-" in made[1].name
    page = made[1].with_suffix(".md").read_text()
    assert "θ = 0.9, its network at θ = 1 (eval.sketch=false)" in page and "no draws" in page


def test_the_batch_of_an_audit_is_in_its_name(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random network's images of a batch share a draw."""
    monkeypatch.setattr(audit, "examine", lambda *_: {"verdict": {}})
    monkeypatch.setattr(audit.audits, "write", lambda *_: [])
    words = [*TENSORIZED, *folder(config)]
    made = [audit.audit(composed([*words, f"eval.batch_size={n}"]), "test") for n in (4, 5)]
    assert made[0] != made[1]


def test_no_other_surrogate_is_audited(config: Config) -> None:
    tanh = deepcopy(config)
    tanh.attack["pgd"].surrogate = "tanh"
    with pytest.raises(
        UsageError, match="identity for sgn's derivative: leave attack.surrogate=tanh"
    ):
        audit.audit(tanh, "command")


def test_an_inconclusive_audit_is_followed_by_what_it_asks_for(config: Config) -> None:
    """Of 10 images none left may still be 28%, of 40 at most 9%: less than chance."""
    quick = deepcopy(config)
    quick.audit.steps, quick.audit.queries, quick.audit.images = 4, 2, 10
    found = []
    for rounds in (1, 2, 3):
        quick.audit.rounds, quick.audit.level = rounds, 0.1
        result = json.loads(audit.audit(quick, "command", MEMBERS[0]).read_text())
        found.append((result["images"], result["verdict"]["words"], result["verdict"]["remedy"]))
    asked = (10, "inconclusive: run audit.images=40", {"audit.images": 40})
    assert found == [asked, (40, NOT_ROBUST, {}), (40, NOT_ROBUST, {})]


def test_the_last_image_is_followed_by_more_draws() -> None:
    tops = [MOST, MOST | {"audit.images": 150}, MOST | {"audit.images": N}, {"audit.images": N}]
    made = [verdict([], left(best=12), 0.1, "eot", SETTINGS, most) for most in tops]
    remedies = [{"audit.images": 400}, {"audit.images": 150}, {"audit.scored": 120}, {}]
    assert [each.remedy for each in made] == remedies
    assert made[-1].words == "inconclusive: run it on more data"


def test_the_panel_s_table_counts_what_is_right(tmp_path: Path, config: Config) -> None:
    quick = deepcopy(config)
    quick.audit.steps = quick.audit.draws = quick.audit.queries = 2
    quick.audit.images = 8
    path = audit.audit(quick, "command", MEMBERS[0])
    said = json.loads(path.read_text())
    open_ = path.with_name("open.json")
    other = {"words": "inconclusive: run audit.images=400"}
    open_.write_text(json.dumps({**said, "images": 9, "verdict": {**said["verdict"], **other}}))
    words = said["verdict"]["words"]
    rights = ([words], ["no"], [words])
    lines = [{"label": str(i), "right": r, "why": ""} for i, r in enumerate(rights)]
    made = audit_panel.write(lines, [path, path, open_], tmp_path)
    table = (tmp_path / "audit_panel.md").read_text()
    assert "1 of 3 verdicts are right, 1 undecided, at" in table
    rows = csv.reader((tmp_path / "audit_panel.csv").read_text().splitlines())
    assert [row[-1] for row in rows] == ["Right", "yes", "no", "undecided"]
    result = json.loads(path.read_text())
    assert f"[{result['run_id']}](audits/{path.name})" in table
    assert f"\n- hardware: {result['hardware']}\n" in table
    assert f"\n- commit: {result['commit']}\n" in table
    names = {path.name, open_.name, "audit_panel.md", "audit_panel.csv", "README.md"}
    assert {file.name for file in made} == names
    assert "- [audit_panel.md](audit_panel.md): Audits of" in (tmp_path / "README.md").read_text()


def test_members_that_were_not_run_are_named_and_no_verdict_counts_for_them(
    tmp_path: Path, config: Config
) -> None:
    words = ["dataset=digits", "model=convnet", "model.width=12", "train.epochs=1", "logger=none"]
    words += [f"paths.runs={config.paths.runs}", f"paths.results={tmp_path}", "device=cpu"]
    words += ["audit.images=6", "audit.steps=2", "audit.draws=2", "audit.queries=2"]
    made = panel([*words, "audit.scored=3", "members=resize_pad,undefended"])
    [table] = [path for path in made if path.name == "audit_panel.csv"]
    lines = list(csv.reader(table.read_text().splitlines()))[1:]
    assert [line[0] for line in lines] == [member.label for member in MEMBERS]
    run = [line[0] for line in lines if line[1] != "not run"]
    assert run == ["Undefended", "Random resize and pad"]
    assert {"".join(line[2:]) for line in lines if line[1] == "not run"} == {""}
    page = table.with_suffix(".md").read_text()
    assert "of 2 verdicts are right" in page
    assert f"at ε = 8/255; {len(MEMBERS) - 2} of {len(MEMBERS)} models were not run" in page
    assert "Every model is claimed to keep 10%." in page
    assert "| PGD training | not run |" in page
    known = "trained on adversarial examples; deterministic and smooth"
    assert f"| PGD training | {known} | {ROBUST} | not run |" in page
    assert len(list((table.parent / "audits").glob("*.json"))) == 2
    with pytest.raises(
        UsageError, match="members=nosuch is none of the panel: choose one of undef"
    ):
        panel([*words, "members=pgd,nosuch"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["normal_noise", "resize_pad", "dropout_on", "random_member"])
def test_the_verdict_is_right_on_a_stranger_s_defence(name: str, config: Config) -> None:
    """And what it draws from is named."""
    p = plan(config)
    [member] = [m for m in MEMBERS if m.name == name]
    of = audit.subject(p, trained(p).network, member.wrap)
    result = audit.examine(of, Budget(epsilon=48, steps=10, draws=6, queries=50), 0, 0.3)
    assert result["verdict"]["words"] in member.right, result["verdict"]
    source = {"resize_pad": "Python", "random_member": "numpy"}.get(name, "torch")
    assert [words.split("'")[0] for words in result["randomness"]["sources"]] == [source]
    assert result["randomness"]["controlled"]


@pytest.mark.slow
def test_the_verdict_is_right_on_all(tmp_path: Path) -> None:
    words = ["dataset=digits", "model=convnet", "model.width=16", "dataset.level=4"]
    budget = Budget(epsilon=32)
    words += [f"audit.{k}={v}" for k, v in vars(budget).items()] + ["audit.rounds=3"]
    words += ["train.lr_scale=0.1", "logger=none", "device=cpu"]
    words += [f"paths.runs={tmp_path}", f"paths.results={tmp_path / 'results'}"]
    made = panel(words)
    table = next(path for path in made if path.name == "audit_panel.csv").read_text()
    lines = table.splitlines()[1:]
    assert len(lines) == len(MEMBERS)
    assert all(line.endswith(",yes") for line in lines), table


# --- what the panel puts in front ---------------------------------------------------------------


def test_what_stands_in_front_does_what_it_says() -> None:
    x = torch.rand(4, 3, 5, 5, generator=torch.manual_seed(0))
    noisy = Noisy(nn.Identity(), 0.1)
    assert not torch.equal(noisy(x), noisy(x))
    assert float((noisy(x) - x).abs().max()) <= 0.1 + 1e-6
    with sketching.disabled(noisy):
        assert torch.equal(noisy(x), x)
    with seeded(nn.Identity(), 0, "panel"):
        small = [ResizeAndPad(nn.Identity(), 0.5)(torch.ones_like(x)) for _ in range(9)]
        shifted = {RandomMember(nn.Flatten())(x).sum(0).argmax().item() for _ in range(20)}
    assert all(each.shape == x.shape for each in small)
    areas = {int((each > 0.5).sum()) // 12 for each in small}
    assert len(areas) > 1 and min(areas) >= 4 and max(areas) <= 25
    assert len(shifted) == 3
    left_on = DropoutLeftOn(nn.Sequential(nn.Flatten(), nn.Linear(75, 4)), 0.5).eval()
    assert not torch.equal(left_on(x), left_on(x))
    steep = Saturated(nn.Identity(), 10.0)
    torch.testing.assert_close(steep(x), 10 * x)
    assert len(Stepped(nn.Identity(), 4)(x).unique()) <= 5

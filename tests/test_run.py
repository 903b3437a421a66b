"""From a configuration to a table, by processes: the rows, what a second start does, and what a
kill, a neighbour or bad input does not do."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.command import ended
from helpers.forked import Forked, forked

from defensive_tensorization import config as cfg
from defensive_tensorization import sketching
from defensive_tensorization.commands.lacking import lacking
from defensive_tensorization.config import CONFIGS, composed
from defensive_tensorization.data import decode
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.ensure import evaluated, trained
from defensive_tensorization.experiment.evaluation_config import eval_config_hash
from defensive_tensorization.experiment.plan import attacks, plan
from defensive_tensorization.experiment.recording import cost
from defensive_tensorization.results import store
from defensive_tensorization.results.row import Row, means, summarise
from defensive_tensorization.run import main, run
from defensive_tensorization.system import cores, provenance
from defensive_tensorization.tables.render import main as render_main
from defensive_tensorization.tables.render import render
from defensive_tensorization.training.checkpoint import commits, digest

ROOT = CONFIGS.parent
ENTRY = [sys.executable, "-m", "defensive_tensorization"]
TINY = (
    *("model.width=4", "model.reference=32", "train.images=128", "eval.images=20", "attack=[fgsm]"),
    *("dataset.cache=../digits", "paths.runs=runs", "paths.results=results"),
    *("device=cpu", "logger=none"),
)
SMOKE = (*TINY, "train.epochs=1", "train.lr_scale=0.1", "eval.runs=2", "eval.epsilon=[2,4]")
DEFENDED = (
    *TINY,
    *("model.width=2", "train.images=128", "train.epochs=1", "eval.runs=1", "eval.epsilon=[4]"),
    *("theta=1", "dataset.cache=null"),
)
LONGER = (*TINY, "model.width=2", "train.epochs=4", "eval.runs=2", "eval.epsilon=[4]", "theta=0.9")


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"}


def start(where: Path, *overrides: str) -> "subprocess.CompletedProcess[str]":
    """A process of its own."""
    return subprocess.run(
        [*ENTRY, *overrides], cwd=where, env=environment(), capture_output=True, text=True
    )


def started(where: Path, *overrides: str, program: Callable[[], object] = main) -> str:
    """Standard output of a start that must succeed, silent on standard error."""
    code, output, error = forked(program, overrides, where).ended()
    assert (code, error) == (0, "")
    return output


def trainings(output: str) -> list[str]:
    """The thetas of the networks that were trained, in order."""
    return re.findall(r"^training .*-theta([\d.]+)-.*, \d+ epochs$", output, flags=re.MULTILINE)


def file(where: Path, theta: str, kind: str = "rows/*.jsonl") -> Path:
    folder, ending = kind.split("*")
    (found,) = (where / "runs" / folder).glob(f"*-theta{theta}-*{ending}")
    return found


def checkpoint(where: Path, theta: str) -> Path:
    return file(where, theta, "checkpoints/*.pt")


def scores(rows: list[Row]) -> dict[tuple[str, float, int], tuple[float, float]]:
    return {(r.attack, r.epsilon, r.eval_seed): (r.clean_accuracy, r.robust_accuracy) for r in rows}


def copied(source: Path, target: Path) -> Path:
    """With the times of the files."""
    return Path(shutil.copytree(source, target, dirs_exist_ok=True))


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """theta = 0.9 from nothing: the folder and what was printed."""
    where = tmp_path_factory.mktemp("smoke")
    done = start(where, *SMOKE, "theta=0.9")
    assert (done.returncode, done.stderr) == (0, "")
    return where, done.stdout


@pytest.fixture(scope="session")
def swept(smoke: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Then a sweep over both thetas."""
    where = copied(smoke[0], tmp_path_factory.mktemp("swept"))
    return where, started(where, "-m", *SMOKE, "theta=1,0.9")


def test_rows_cost_what_their_attack_asks_of_the_network() -> None:
    words = ["attack=[fgsm,pgd,eot_pgd]", "eval.epsilon=[8]", "attack.eot_pgd.draws=5"]
    fgsm, pgd, eot = attacks(composed([*words, "attack.eot_pgd.steps=4"]))
    costs = [cost(attack, 30, random=True) for attack in (None, fgsm, pgd)]
    assert costs == [30, 33, 60]  # PGD: 10 steps
    assert cost(eot, 1, random=True) == 1 + 3 * 4 * 5
    assert cost(eot, 1, random=False) == 1 + 3 * 4
    assert cost(replace(eot, knowledge="omniscient"), 1, random=True) == 1 + 3 * 4


def test_the_network_at_theta_1_is_trained_first(smoke: tuple[Path, str]) -> None:
    where, output = smoke
    assert trainings(output) == ["1", "0.9"]
    assert f"rows {file(where, '0.9').relative_to(where)}\n" in output
    summary = r"theta0\.9-seed0-\w{8}  clean [\d.]+  fgsm 2 [\d.]+  fgsm 4 [\d.]+$"
    assert re.search(summary, output, flags=re.MULTILINE)


def test_an_attack_may_run_under_fewer_seeds_than_the_evaluation(
    smoke: tuple[Path, str], tmp_path: Path
) -> None:
    """Its rows are those that it has under all seeds, and nothing counts as missing."""
    where = copied(smoke[0], tmp_path)
    paths = [f"paths.runs={where / 'runs'}", f"dataset.cache={tmp_path / 'digits'}"]
    words = [*SMOKE, *paths, "theta=0.9", "attack=[fgsm,bim]", "eval.epsilon=[2]", "eval.runs=3"]
    config = composed([*words, "+attack.fgsm.runs=1"])
    p = plan(config)
    of = trained(p)
    rows = evaluated(p, of, "command")
    assert sorted((r.attack, r.eval_seed) for r in rows) == [
        *(("bim", seed) for seed in range(3)),
        *(("clean", seed) for seed in range(3)),
        ("fgsm", 0),
    ]
    assert not lacking([config], rows, rows, []).scorings
    again = evaluated(plan(composed(words)), of, "command")
    assert [r for r in again if (r.attack, r.eval_seed) == ("fgsm", 0)] == [
        r for r in rows if r.attack == "fgsm"
    ]


def test_the_control_is_the_same_network_at_theta_1(
    smoke: tuple[Path, str], tmp_path: Path
) -> None:
    where = copied(smoke[0], tmp_path)
    paths = [f"paths.runs={where / 'runs'}", f"dataset.cache={tmp_path / 'digits'}"]
    p = plan(composed([*SMOKE, *paths, "theta=0.9", "eval.sketch=false", "attack=[]"]))
    rows = evaluated(p, trained(p), "command")
    assert {r.sketch for r in rows} == {False}
    assert {(r.random, r.draws) for r in rows} == {(False, "none: theta = 1 in attack and scoring")}
    network = trained(p).network
    split = p.task.test.head(20)
    classifier = components.classifier(p, network)
    with torch.no_grad(), sketching.disabled(network):
        right = classifier(decode(split.inputs)).argmax(1) == split.labels
    assert {r.clean_accuracy for r in rows} == {int(right.sum()) / 20}


def test_every_row_says_what_it_is(smoke: tuple[Path, str]) -> None:
    config = composed([*SMOKE, "theta=0.9"])
    aimed = {("clean", 0.0): None} | {(a.name, a.epsilon): a for a in attacks(config)}
    path = file(smoke[0], "0.9")
    rows = store.read([path])
    network = torch.load(checkpoint(smoke[0], "0.9"), weights_only=True)["progress"]["network"]
    weights = digest(network)
    assert weights != digest(network | {"head.bias": network["head.bias"] + 1e-6})
    assert "  evaluation seed 1  " in smoke[1]
    assert list(scores(rows)) == [(*cell, seed) for seed in (0, 1) for cell in aimed]
    for row in rows:
        attack = aimed[row.attack, row.epsilon]
        assert row.recipe == cfg.train_config_hash(config)
        assert row.fingerprint == cfg.digest([row.recipe, row.data_digest], 16)
        assert row.run_id == path.stem == cfg.run_id(config, row.fingerprint)
        assert row.protocol == eval_config_hash(config, attack)
        assert (row.scale, row.dataset, row.model, row.width) == ("smoke", "digits", "resnet18", 4)
        assert row.data == "scikit-learn digits, 1,797 images upscaled to 3x32x32"
        assert (row.precision, row.defence, row.theta) == ("real", "tensorization", 0.9)
        assert (row.batchnorm, row.train_seed, row.epochs) == (config.model.batchnorm, 0, 1)
        assert row.epsilon_absolute == pytest.approx(row.epsilon / 255)
        assert row.steps == (1 if attack else 0)
        assert row.step_size == row.epsilon_absolute
        assert not row.random_start
        assert row.draws == (
            "one per forward, shared by a batch of 500; fresh for each step and scoring"
        )
        assert (row.n, row.subset) == (20, "20 test images, permutation seed 0")
        assert round(20 * row.clean_accuracy) / 20 == row.clean_accuracy
        assert round(20 * row.robust_accuracy) / 20 == row.robust_accuracy
        assert attack or row.robust_accuracy == row.clean_accuracy
        assert re.fullmatch(r"[0-9a-f]{7,40}|unknown", row.commit)
        assert row.trained_commit == row.commit + "+" * row.dirty
        assert row.weights == weights
        assert row.versions["torch"] == torch.__version__.split("+")[0]
        assert row.versions == provenance.versions()
        assert re.search(r", \d+ cores?$", row.hardware)
        assert row.seconds > 0
        assert row.command.startswith("python -m defensive_tensorization model.width=4 ")
        assert row.command.endswith(" theta=0.9")
    assert len({row.key for row in rows}) == len({row.commit for row in rows}) * 6 == 6


def test_a_second_start_trains_nothing_and_adds_nothing(
    smoke: tuple[Path, str], swept: tuple[Path, str]
) -> None:
    (before, _), (after, output) = smoke, swept
    assert trainings(output) == []
    assert not re.search(r"theta0\.9-\S+  evaluation seed", output)
    assert file(after, "0.9").read_bytes() == file(before, "0.9").read_bytes()
    for theta in ("1", "0.9"):
        old, new = checkpoint(before, theta), checkpoint(after, theta)
        assert new.stat().st_mtime_ns == old.stat().st_mtime_ns
        assert new.read_bytes() == old.read_bytes()


def test_a_training_that_goes_on_at_other_commits_names_all(
    swept: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = copied(swept[0], tmp_path)
    path = checkpoint(where, "1")
    state = torch.load(path, weights_only=True)
    state["progress"] |= {"epoch": 0, "history": []}  # one more epoch, on the weights there
    monkeypatch.chdir(where)
    now, dirty = provenance.commit()
    for before in ({"commits": ["c0ffee", "decade+"]}, {"commit": ("decade", True)}):
        state.pop("commits", None)
        torch.save(state | before, path)
        names = trained(plan(composed([*SMOKE, "theta=1"]))).commit
        assert names.endswith(f"decade+, {now}{'+' * dirty}")
        assert names.startswith("c0ffee") == ("commits" in before)
        assert commits(torch.load(path, weights_only=True)) == names.split(", ")


def test_a_sweep_runs_every_value(swept: tuple[Path, str]) -> None:
    rows = store.read([file(swept[0], "1")])
    assert len(rows) == 6
    assert {(r.theta, r.draws, r.batchnorm) for r in rows} == {
        (1.0, "none: deterministic network", "running")
    }
    of_seed = [{k[:2]: v for k, v in scores(rows).items() if k[2] == seed} for seed in (0, 1)]
    assert of_seed[0] == of_seed[1]  # FGSM on a deterministic network has nothing to draw


def test_a_new_attack_retrains_nothing(
    swept: tuple[Path, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = copied(swept[0], tmp_path)
    old, stamp = file(where, "0.9").read_bytes(), checkpoint(where, "0.9").stat().st_mtime_ns
    monkeypatch.chdir(where)
    with caplog.at_level("INFO"):
        run(composed([*SMOKE, "theta=0.9", "attack=[fgsm,bim]"]), "a test")
    new = file(where, "0.9").read_bytes()
    assert new.startswith(old)
    added = [Row.from_json(line, "added") for line in new[len(old) :].splitlines()]
    assert [(r.attack, r.epsilon, r.steps, r.eval_seed) for r in added] == [
        ("bim", epsilon, steps, seed) for seed in (0, 1) for epsilon, steps in ((2, 2), (4, 5))
    ]
    known = {r.eval_seed: r.clean_accuracy for r in store.read([file(swept[0], "0.9")])}
    assert {r.eval_seed: r.clean_accuracy for r in added} == known
    assert checkpoint(where, "0.9").stat().st_mtime_ns == stamp
    assert not any("training" in message for message in caplog.messages)


# --- the table ----------------------------------------------------------------------------------

TABLE = ("quickstart.md", "quickstart.csv", "quickstart.tex")
AS_RUN = (
    "model=resnet18",
    "train.init_epochs=null",
    "train.batch_size=128",
    "eval.draws=1",
)  # the runs above are of no experiment


@pytest.fixture(scope="session")
def tabled(swept: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    where = copied(swept[0], tmp_path_factory.mktemp("tabled"))
    return where, started(where, "quickstart", *SMOKE, *AS_RUN, program=render_main)


def again(where: Path) -> Path:
    paths = [f"paths.runs={where / 'runs'}", f"paths.results={where / 'results'}"]
    render("quickstart", [*SMOKE, *AS_RUN, *paths])
    return where / "results" / "smoke"


def missing(folder: Path) -> set[str]:
    """The methods with a cell that has no rows; they have none at all."""
    with (folder / "quickstart.csv").open(newline="") as file:
        cells = list(csv.DictReader(file))
    blank = {cell["method"] for cell in cells if not cell["ours_mean"]}
    assert all(not cell["ours_mean"] for cell in cells if cell["method"] in blank)
    return blank


def test_the_table_is_made_from_the_rows(tabled: tuple[Path, str]) -> None:
    where, output = tabled
    folder = where / "results" / "smoke"
    for name in (*TABLE, "quickstart.png", "README.md"):
        assert f"wrote results/smoke/{name}\n" in output
        assert (folder / name).stat().st_size > 0
    assert missing(folder) == {"Dense"}
    caption = (folder / "quickstart.md").read_text()
    assert "missing: 3 of 6 cells" in caption
    assert "n = 20 (20 test images, permutation seed 0)" in caption
    rows = [r for r in store.read([file(where, "0.9")]) if (r.attack, r.epsilon) == ("fgsm", 4)]
    shown = summarise(rows)
    cell = f"{100 * shown.robust_mean:.1f} ± {100 * (shown.robust_std or 0):.1f}"
    assert f"| {cell} |" in next(line for line in caption.splitlines() if "| FGSM | 4 |" in line)
    assert cell in output


@pytest.mark.sharp
def test_rendering_twice_gives_the_same_bytes(tabled: tuple[Path, str], tmp_path: Path) -> None:
    folder = again(copied(tabled[0], tmp_path))
    before = tabled[0] / "results" / "smoke"
    for path in (*TABLE, "quickstart.png", "README.md"):
        assert (folder / path).read_bytes() == (before / path).read_bytes()
    for path in sorted((before / "rows").glob("*.jsonl")):
        assert (folder / "rows" / path.name).read_bytes() == path.read_bytes()


def test_without_a_file_of_rows_its_cells_are_blank(
    tabled: tuple[Path, str], tmp_path: Path
) -> None:
    where = copied(tabled[0], tmp_path)
    gone = file(where, "0.9")
    (where / "results" / "smoke" / "rows" / gone.name).unlink()
    gone.unlink()
    folder = again(where)
    assert missing(folder) == {"Dense", "θ=0.9"}
    assert "missing: 6 of 6 cells" in (folder / "quickstart.md").read_text()


def test_without_rows_everything_is_missing(tmp_path: Path) -> None:
    folder = again(tmp_path)
    assert len(missing(folder)) == 2
    text = (folder / "quickstart.md").read_text()
    assert "missing: 6 of 6 cells" in text
    assert "- rows: none yet" in text
    assert not (folder / "quickstart.png").exists()


# --- kills and neighbours -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Two processes that want the same network at once: the folder and what each printed."""
    where = tmp_path_factory.mktemp("together")
    both = [launched(where), launched(where)]
    outputs = [process.ended() for process in both]
    assert [(code, error) for code, _, error in outputs] == [(0, "")] * 2
    return where, [output for _, output, _ in outputs]


def launched(where: Path) -> Forked:
    return forked(main, LONGER, where)


def test_two_processes_train_once(together: tuple[Path, list[str]]) -> None:
    where, outputs = together
    assert sorted(theta for output in outputs for theta in trainings(output)) == ["0.9", "1"]
    lines = file(where, "0.9").read_text().splitlines()
    assert len(lines) == len(store.read([file(where, "0.9")])) == 4
    assert outputs[0].splitlines()[-2:] == outputs[1].splitlines()[-2:]


def test_killed_and_started_again_is_never_interrupted(
    together: tuple[Path, list[str]], tmp_path: Path
) -> None:
    process = launched(tmp_path)
    process.wait_for(r"-theta0\.9-\S+ epoch 1 ")
    os.kill(process.pid, signal.SIGKILL)
    assert process.ended()[0] == -signal.SIGKILL
    halted = torch.load(checkpoint(tmp_path, "0.9"), weights_only=True)["progress"]["epoch"]
    assert 1 <= halted < 4

    output = started(tmp_path, *LONGER)
    assert trainings(output) == ["0.9"]
    epochs = re.findall(r" epoch (\d) ", output)
    assert epochs == [str(n) for n in range(halted + 1, 5)]
    for theta in ("1", "0.9"):
        mine, theirs = (
            torch.load(checkpoint(where, theta), weights_only=True)["progress"]
            for where in (tmp_path, together[0])
        )
        assert list(differing(mine, theirs)) == []
    rows = [store.read([file(where, "0.9")]) for where in (tmp_path, together[0])]
    assert scores(rows[0]) == scores(rows[1])


def differing(left: object, right: object, at: str = "progress") -> Iterator[str]:
    """Where two checkpoints differ, the times of the epochs apart."""
    if isinstance(left, dict) and isinstance(right, dict):
        if left.keys() != right.keys():
            yield at
        for key in left.keys() & right.keys() - {"seconds"}:
            yield from differing(left[key], right[key], f"{at}.{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for i, pair in enumerate(zip(left, right, strict=True)):
            yield from differing(*pair, f"{at}[{i}]")
    elif isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        if not torch.equal(left, right):
            yield at
    elif left != right:
        yield at


def test_rows_of_other_weights_are_not_gone_on_with(
    smoke: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = copied(smoke[0], tmp_path)
    path = file(where, "0.9").relative_to(where)
    text = (where / path).read_text()
    (where / path).write_text(text.replace('"weights": "', '"weights": "0'))
    code, _, error = ended([*SMOKE, "theta=0.9"], where, capsys)
    assert code == 2
    assert error.startswith(f"error: {path} holds rows of other weights than ")
    assert error.endswith("trained anew since: move the rows away, they are made again\n")


# --- bad input ----------------------------------------------------------------------------------


def options(group: str) -> str:
    return ", ".join(sorted(path.stem for path in (CONFIGS / group).glob("*.yaml")))


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ("theta=2", "theta must lie in (0, 1], got 2: theta=1 keeps everything"),
        ("foo=1", "unknown key foo=1: see configs/config.yaml for the keys there are"),
        ("+foo=1", "unknown key +foo=1: see configs/config.yaml for the keys there are"),
        ("-m theta=1,2", "theta must lie in (0, 1], got 2: theta=1 keeps everything"),
        (
            "-m theta=1,0.9 --cfg job",
            "--multirun and --cfg do not go together: --cfg job shows one run, leave -m out",
        ),
        (
            "defence=none theta=0.5",
            "theta=0.5 changes nothing with defence=none, which factorizes no kernel: leave theta "
            "out, or take defence=tensorization",
        ),
        ("theta=0.9 -m seed=0,x", "seed must be a whole number, got 'x': see configs/config.yaml"),
        (
            "logger.mode=online",
            "logger.mode=online needs a W&B key and none was found: run `wandb login` or set "
            "WANDB_API_KEY, or take logger.mode=offline",
        ),
        ("dataset=nosuch", f"dataset/nosuch does not exist: choose one of {options('dataset')}"),
        (
            "eval.epsilon=[big]",
            "eval.epsilon=big cannot be read: write a number >= 0 (8 means 8/255 on images) or a "
            "fraction such as 8/255",
        ),
        (
            "dataset.root=/nope",
            "dataset.root=/nope: defensive_tensorization.data.digits.load takes no root, leave it "
            "out; it takes name, unit, cache",
        ),
        (
            "attack=[fgsm] +attack.fgsm.steps=3",
            "attack.fgsm.steps=3: defensive_tensorization.attacks.in_units.fgsm takes no steps, "
            "leave it out; it takes epsilon, unit",
        ),
        (
            "dataset=cifar10 dataset.source=folder dataset.root=nowhere",
            "dataset.root=nowhere does not exist: name a folder with "
            "{train,test}/<class>/*.{png,jpg,jpeg}, or a tar of one",
        ),
        ("eval.images=99999 dataset.cache=null", "eval.images must lie in 1..360, got 99999"),
        ("audit.level=0", "audit.level must be in (0, 1], got 0.0"),
        (
            "experiment=table1 dataset.source=folder dataset.root=nowhere",
            "dataset.root=nowhere does not exist: name a folder with "
            "{train,test}/<class>/*.{png,jpg,jpeg}, or a tar of one",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    overrides: str,
    text: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(cores, "available", lambda: 2)  # where a table's jobs run side by side
    assert ended(overrides.split(), tmp_path, capsys) == (2, "", f"error: {text}\n")
    assert caplog.messages == []
    assert list(tmp_path.iterdir()) == []


def test_data_that_are_not_there_leave_nothing(tmp_path: Path) -> None:
    """By a process, so that the error is alone on its stream, and a shell gets the code."""
    code, _, error = forked(main, ["dataset=cifar10"], tmp_path).ended()
    assert code == 2
    assert error == (
        "error: CIFAR-10: data/cifar-10-batches-py/data_batch_1 is missing: set "
        "dataset.download=true, or dataset.source=folder dataset.root=<tree or tar>\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_groups(tmp_path: Path) -> None:
    output = started(tmp_path, "--help")
    groups = {path.parent.name for path in CONFIGS.glob("*/*.yaml")}
    for group in groups:
        assert f"\n{group}: {options(group)}\n" in output
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The undefended network: the folder of its run, and its weights."""
    where = tmp_path_factory.mktemp("dense")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        config = composed([*DEFENDED, "defence=none"])
        run(config, "test")
        return where, trained(plan(config)).weights


@pytest.mark.parametrize(
    ("words", "defence", "joined"),
    [
        ("defence=squeezing", "squeezing", True),
        ("defence=squeezing attack.input=oblivious", "squeezing", True),
        ("defence=sap", "sap", True),
        ("defence=quantization", "quantization", False),
        ("defence=adversarial_pgd", "adversarial_pgd", False),
        ("defence=adversarial_rfgsm", "adversarial_rfgsm", False),
        ("defence=tensorization_pgd theta=0.9", "tensorization_pgd", False),
        ("defence=defensive_dropout", "defensive_dropout", False),
    ],
)
def test_every_defence_goes_the_same_way(
    words: str,
    defence: str,
    joined: bool,
    dense: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From configuration to rows; one that joins the trained network trains none of its own."""
    monkeypatch.chdir(copied(dense[0], tmp_path))
    config = composed([*DEFENDED, *words.split()])
    run(config, "test")
    weights = trained(plan(config)).weights
    made = {r.attack: r for r in store.read([tmp_path / "runs" / "rows"]) if r.defence == defence}
    assert set(made) == {"clean", "fgsm"}
    assert {r.weights for r in made.values()} == {weights}
    assert (weights == dense[1]) == joined


def test_a_surface_s_rows_are_those_of_its_attacks_alone_and_a_stop_inside_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of recalibrated BatchNorm; means are of the most steps and draws."""
    monkeypatch.chdir(tmp_path)
    words = [*DEFENDED, "theta=0.9", "attack=[eot_pgd]", "eval.draws=3"]
    words += ["eval.images=8", "model.reference=8"]
    several = ["experiment.form=surface", "attack.eot_pgd.steps=[1,2,4]"]
    config = composed([*words, *several, "attack.eot_pgd.draws=[1,3]"])
    run(config, "test")
    [path] = (tmp_path / "runs" / "rows").glob("*theta0.9*.jsonl")
    made = {row.key: row for row in store.read([path])}
    assert len(made) == 1 + 6
    longest = [r.robust_accuracy for r in made.values() if (r.steps, r.averaged) == (4, 3)]
    assert [means(list(made.values()))["eot_pgd", 4.0]] == longest
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if '"steps": 2,' not in line) + "\n")
    run(config, "test")
    again = {row.key: row for row in store.read([path])}
    path.unlink()
    p = plan(config)
    of = trained(p)
    for draws in (1, 3):
        for steps in (1, 2, 4):
            alone = [f"attack.eot_pgd.draws={draws}", f"attack.eot_pgd.steps={steps}"]
            evaluated(replace(p, config=composed([*words, *alone])), of, "test")
    apart = {row.key: row for row in store.read([path])}
    for key, row in made.items():
        for other in (again[key], apart[key]):
            assert (other.correct, other.votes, other.by_draw) == (
                row.correct,
                row.votes,
                row.by_draw,
            )


def test_the_loss_holds_quantization_s_term(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = {
        trained(plan(composed([*DEFENDED, "defence=quantization", f"defence.beta={beta}"]))).weights
        for beta in (0, 1)
    }
    assert len(found) == 2


AUDIO = (
    *("experiment=quickstart_audio", "model.width=2", "model.reference=32", "train.images=64"),
    *("train.epochs=1", "eval.images=20", "eval.epsilon=[0.032]", "dataset.cache=null"),
    *("paths.runs=runs", "paths.results=results", "device=cpu", "logger=none"),
)


def test_sound_goes_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both networks, dense and sketched, from configuration to table."""
    monkeypatch.chdir(tmp_path)
    for cell in (["method=baseline"], ["method=ours_0.9"], ["method=baseline", "model=logmel"]):
        run(composed([*AUDIO, *cell]), "test")
    rows = store.read([tmp_path / "runs" / "rows"])
    assert {r.model for r in rows} == {"soundnet5", "logmel"}
    for row in rows:
        assert (row.data_digest, row.n, row.width) == (rows[0].data_digest, 20, 2)
        assert "synthetic" in row.data and row.subset == "20 test clips, permutation seed 0"
        assert row.epsilon == row.epsilon_absolute == (0.032 if row.attack == "fgsm" else 0)
    assert {r.batchnorm for r in rows if r.theta < 1} == {"recalibrated"}
    render("quickstart_audio", AUDIO[1:])
    table = (tmp_path / "results" / "smoke" / "quickstart_audio.md").read_text()
    assert "FGSM" in table and "ε in amplitude" in table and "32 training clips" in table


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            ["dataset=synthetic_tones"],
            "model=resnet18 reads images, dataset=synthetic_tones holds clips: "
            "take model=soundnet5 or model=logmel",
        ),
        (
            ["model=soundnet5"],
            "model=soundnet5 reads clips, dataset=digits holds images: take model=resnet18",
        ),
    ],
)
def test_a_model_for_other_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        run(composed([*overrides, "logger=none"]), "test")
    assert str(caught.value) == text

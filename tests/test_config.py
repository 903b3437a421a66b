"""Every file composes; bad input is one line; identity is what decides the weights, and no more."""

import csv
import os
import re
import shlex
import shutil
import string
import subprocess
from collections.abc import Callable
from copy import deepcopy
from dataclasses import field, make_dataclass
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf, open_dict

from defensive_tensorization import config as cfg
from defensive_tensorization.attacks import group_by_steps
from defensive_tensorization.config import CONFIGS, Config, checked, composed, parse_epsilon
from defensive_tensorization.config.compose import _from_our_files, _hydra
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment.evaluation_config import eval_config_hash
from defensive_tensorization.experiment.plan import attacks
from defensive_tensorization.report import surface
from defensive_tensorization.results import store
from defensive_tensorization.tables.table_spec import laid

ROOT = CONFIGS.parent
FILES = sorted(CONFIGS.rglob("*.yaml"))
GROUPS = sorted(
    path.name for path in CONFIGS.iterdir() if path.is_dir() and any(path.glob("*.yaml"))
)
METHODS = {
    path.stem: list(yaml.safe_load(path.read_text())["experiment"]["columns"])
    for path in sorted((CONFIGS / "experiment").glob("*.yaml"))
}
NO_SUCH_KEY = "unknown key {}: see {} for the keys there are"
THETA = "theta must lie in (0, 1], got {}: theta=1 keeps everything"
EPSILON = (
    "{}={} cannot be read: "
    "write a number >= 0 (8 means 8/255 on images) or a fraction such as 8/255"
)


def quick(*overrides: str) -> Config:
    """As `composed` does, without looking for words that cannot be: a fifth of the time."""
    choices = [each for each in overrides if each.partition("=")[0] in GROUPS]
    values = [each for each in overrides if each not in choices]
    config = deepcopy(_from_our_files(str(CONFIGS), tuple(choices)))
    for value in OverridesParser.create().parse_overrides(values):
        OmegaConf.update(config, value.key_or_group, value.value())
    return checked(config)


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def chosen(path: Path) -> list[str]:
    """The overrides that select a file; ours of a launcher come with it."""
    if path.parent.name == "launch":
        name, cpu, _ = path.stem.partition("_cpu")
        return cfg.launched([f"hydra/launcher={name}", *(["device=cpu"] if cpu else [])])
    group = str(path.parent.relative_to(CONFIGS))
    if group == ".":
        return []
    return [f"{group}=[{path.stem}]" if group == "attack" else f"{group}={path.stem}"]


# --- every file -------------------------------------------------------------------------------

# test_experiments composes each experiment with each of its methods
IN_EXPERIMENTS = [
    *(CONFIGS / "experiment" / f"{each}.yaml" for each in METHODS),
    *(CONFIGS / "method" / f"{each}.yaml" for each in sorted({*chain(*METHODS.values())})),
]


def header(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return [re.sub("^# *", "", line) for line in lines[:end] if not line.startswith("# @package")]


def commands(path: Path) -> list[str]:
    """Those of its header, without the remark that follows two spaces."""
    return [
        re.split(r"\s{2,}", line)[0]
        for line in header(path)
        if line.startswith(("python -m ", "make "))
    ]


def chosen_by_its_command(path: Path) -> bool:
    """Where the command of its header composes it, which is tested below."""
    if "hydra" in path.parts:
        return False
    return any(command.split()[3:4] == chosen(path) for command in commands(path))


@pytest.mark.parametrize(
    "path",
    [f for f in FILES if f not in IN_EXPERIMENTS and not chosen_by_its_command(f)],
    ids=name,
)
def test_every_file_composes(path: Path) -> None:
    named(path, composed(chosen(path)))


def named(path: Path, config: Config) -> None:
    """A section says which file it is of."""
    if path.parent.name in ("dataset", "model", "precision", "train", "scale"):
        # a variant of a precision keeps its name: what a run is called
        assert getattr(config, path.parent.name).name == path.stem.replace("xnor_cifar10", "xnor")
    if path.parent.name == "attack":
        assert path.stem in config.attack


@pytest.mark.parametrize("experiment", METHODS)
def test_an_experiment_trains_its_table_s_columns(experiment: str) -> None:
    sweep = yaml.safe_load((CONFIGS / "experiment" / f"{experiment}.yaml").read_text())["hydra"]
    assert sweep["mode"] == "MULTIRUN"
    assert sweep["sweeper"]["params"]["method"].split(",") == METHODS[experiment]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(f, marks=[pytest.mark.slow] if f in IN_EXPERIMENTS else [])
        for f in FILES
        if "hydra" not in f.parts
    ],
    ids=name,
)
def test_every_file_opens_with_a_command_that_uses_it(path: Path) -> None:
    told = commands(path)
    assert told, f"{path}: no command in its first comment"
    if path.parent.name not in ("configs", "experiment"):  # these two say first what they are
        assert header(path)[0].startswith(told[0])
    used = [each for command in told for each in uses(command)]
    configs = [config for files, config in used if path in files]
    assert configs, f"{path}: its command does not use it"
    named(path, configs[0])


@pytest.mark.parametrize("path", IN_EXPERIMENTS, ids=name)
def test_the_command_of_a_method_or_an_experiment_names_it(path: Path) -> None:
    """Quick: without composing it."""
    told = commands(path)
    assert told, f"{path}: no command in its first comment"
    if path.parent.name == "method":
        assert header(path)[0].startswith(told[0])
    target = path.stem.replace("_", "-")
    names = {f"{path.parent.name}={path.stem}", target, f"reproduce-{target}"}
    assert any(names & {*command.split()} for command in told)


def test_the_commands_of_the_pages_compose() -> None:
    page = (ROOT / "docs" / "running.md").read_text()
    commands = re.findall(r"^    (python -m defensive_tensorization .*)$", page, re.MULTILINE)
    assert len(commands) > 2
    assert all(uses(command) for command in commands)


Used = tuple[set[Path], Config]  # the files that a run reads, and its configuration


def uses(command: str) -> list[Used]:
    """Of each run of a command; what follows two spaces is a remark."""
    command = re.split(r"\s{2,}", command)[0]
    if command.startswith("make "):
        return [each for line in expanded(command) for each in uses(line)]
    words = shlex.split(command)[3:]
    first = [word for word in words if not word.startswith("-")]
    assert words[len(words) - len(first) :] == first, f"{command}: Hydra reads no flag after these"
    overrides = OverridesParser.create().parse_overrides(first)
    fixed = [o.input_line for o in overrides if not o.is_sweep_override()]
    swept = [
        f"{o.get_key_element()}={value}"
        for o in overrides
        if o.is_sweep_override()
        for value in o.sweep_string_iterator()
    ]
    assert not swept or "-m" in words
    return [files(*fixed, each) for each in swept] if swept else [files(*fixed)]


@cache
def files(*overrides: str) -> Used:
    with _hydra():  # which parses each file once
        whole = compose("config", list(overrides), return_hydra_config=True)
    choices = list(whole.hydra.runtime.choices.items())
    with open_dict(whole):
        del whole["hydra"]
    config = checked(whole, overrides)
    choices += [("attack", attack) for attack in config.attack]
    read = (CONFIGS / str(group) / f"{choice}.yaml" for group, choice in choices)
    return {CONFIGS / "config.yaml", *read}, config


def expanded(command: str) -> list[str]:
    """What make would run of ours, as the entrypoint's command lines."""
    if shutil.which("make") is None:
        pytest.skip("without make")
    passed_on = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "SCALE", "ARGS")
    environment = {k: v for k, v in os.environ.items() if k not in passed_on}
    words = ["make", "-n", "-C", str(ROOT), *shlex.split(command)[1:]]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    found = re.findall(r"(-m defensive_tensorization .*)", done.stdout)
    assert found, f"{command}: runs nothing of ours"
    return [f"python {line}" for line in found]


# --- bad input is one line ----------------------------------------------------------------------


def refused(*overrides: Any, read: Callable[..., Any] = lambda *each: composed([*each])) -> str:
    with pytest.raises(UsageError) as caught:
        read(*overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("plus", "key"),
    [
        *(("", key) for key in ("foo", "train.foo", "train.optimizer.foo", "dataset.foo")),
        *(("", key) for key in ("defence.conv.foo", "attack.pgd.foo")),
        *((plus, key) for plus in ("+", "++") for key in ("foo", "attack.pgd.foo")),
    ],
)
def test_an_unknown_key_is_named(plus: str, key: str) -> None:
    top = key.partition(".")[0]
    file = "configs/config.yaml" if top == key else f"configs/{top}/"
    assert refused(f"{plus}{key}=1") == NO_SUCH_KEY.format(f"{plus}{key}=1", file)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("method=our_0.9", "method/our_0.9 does not exist: did you mean ours_0.9? (all: {})"),
        ("attack=[fgms]", "attack/fgms does not exist: did you mean fgsm? (all: {})"),
        ("model=resnet_18", "model/resnet_18 does not exist: did you mean resnet18? (all: {})"),
        ("experiment=tabel1", "experiment/tabel1 does not exist: did you mean table1? (all: {})"),
        ("dataset=cifar", "dataset/cifar does not exist: did you mean cifar10? (all: {})"),
    ],
)
def test_an_option_that_is_nearly_right_is_suggested(word: str, said: str) -> None:
    assert refused(word) == said.format(f"configs/{word.partition('=')[0]}/")


def test_a_key_that_is_nearly_right_is_suggested() -> None:
    assert refused("tucker.rnk=full") == "unknown key tucker.rnk=full: did you mean tucker.rank?"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("fgsm attack.fgsm.steps=3", "fgsm takes one step and has no steps: take bim or pgd"),
        ("pgd attack.pgd.draws=3", "pgd has no draws: take one of apgd_ce, eot_pgd, square"),
        ("square attack.square.loss=ce", "square has no loss: take apgd_ce"),
        ("pgd attack.pgd.setps=3", "did you mean attack.pgd.steps?"),
        ("pgd +attack.pgd.setps=3", "did you mean attack.pgd.steps?"),
        ("pgd attack.eot_pdg.steps=3", "did you mean attack.eot_pgd?"),
        ("eot_pgd_long attack.eot_pgd_long.level=2", "write +attack.eot_pgd_long.level=2"),
        (
            "pgd attack.pgd.knowledge=frozen",
            "write attack.knowledge=frozen for all attacks, or +attack.pgd.knowledge=frozen for "
            "pgd alone",
        ),
    ],
)
def test_a_key_that_an_attack_of_ours_lacks_has_a_remedy_that_helps(
    words: str, wanted: str
) -> None:
    attack, asked = words.split()
    assert refused(f"attack=[{attack}]", asked) == f"unknown key {asked}: {wanted}"


@pytest.mark.parametrize("plus", ["", "+", "++"])
@pytest.mark.parametrize("key", ["steps", "draws", "nosuch"])
def test_an_attack_that_is_not_selected_is_said_to_be_so(plus: str, key: str) -> None:
    asked = f"{plus}attack.eot_pgd.{key}=3"
    said = refused("attack=[fgsm,pgd]", asked)
    assert said == f"{asked}: eot_pgd is not selected: write attack=[fgsm,pgd,eot_pgd]"


@pytest.mark.parametrize(
    ("key", "value", "wanted", "file"),
    [
        ("theta", "abc", "a number", "configs/config.yaml"),
        ("theta", "[1]", "a number", "configs/config.yaml"),
        ("model.width", "abc", "a whole number", "configs/model/"),
        ("model.width", "4.5", "a whole number", "configs/model/"),
        ("seed", "abc", "a whole number", "configs/config.yaml"),
        ("train.optimizer.lr", "fast", "a number", "configs/train/"),
        ("eval.images", "some", "a whole number", "configs/config.yaml"),
        ("tucker.rescale", "perhaps", "true or false", "configs/config.yaml"),
        ("train.milestones", "[a]", "a number", "configs/train/"),
        ("++theta", "abc", "a number", "configs/config.yaml"),
        ("++train.milestones", "[a]", "a number", "configs/train/"),
    ],
)
def test_a_wrong_type_is_named(key: str, value: str, wanted: str, file: str) -> None:
    name = key.lstrip("+")
    at, shown = ("[0]", "a") if name == "train.milestones" else ("", value)
    text = refused(f"{key}={value}")
    assert text == f"{name}{at} must be {wanted}, got {shown!r}: see {file}"


def options(group: str) -> str:
    return ", ".join(sorted(path.stem for path in (CONFIGS / group).glob("*.yaml")))


@pytest.mark.parametrize("group", ["attack", "dataset", "experiment"])
def test_a_missing_option_lists_those_there_are(group: str) -> None:
    names = options(group).split(", ")
    wanted = f"{group}/nosuch does not exist: choose one of {', '.join(names[:20])}"
    if len(names) > 20:
        wanted += f" and {len(names) - 20} more (all: configs/{group}/)"
    assert refused(f"{group}=nosuch") == wanted


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("model.batchnorm", "running, frozen, batch, recalibrated"),
        ("train.init", "theta1, dense, scratch"),
        ("train.decay", "steps, linear"),
        ("train.autocast", "auto, float32, bfloat16"),
        ("eval.autocast", "auto, float32, bfloat16"),
        ("logger.mode", "offline, online, disabled"),
        ("logger.artifacts", "none, reference, upload"),
        ("tucker.init", "hosvd, random"),
        ("train.parallel.batchnorm", "synchronised, local"),
        ("train.parallel.draws", "shared, own"),
        ("stage", "all, bases"),
    ],
)
def test_a_word_that_is_no_choice_lists_the_choices(key: str, allowed: str) -> None:
    text = f"{key} must be one of {allowed}, got 'nosuch'"
    assert refused(f"{key}=nosuch", read=quick) == text


def test_a_way_to_compile_that_there_is_not() -> None:
    expected = "train.compile must be null, default, reduce-overhead, max-autotune, got 'fast'"
    assert refused("train.compile=fast", read=quick) == expected
    assert quick("train.compile=reduce-overhead").train.compile == "reduce-overhead"


@pytest.mark.parametrize("value", [0, -3])
@pytest.mark.parametrize(
    "key",
    [
        *("model.width", "model.reference", "train.epochs"),
        *("train.batch_size", "eval.batch_size", "eval.runs", "eval.gradient_images"),
    ],
)
def test_counts_are_at_least_one(key: str, value: int) -> None:
    text = f"{key} must be at least 1, got {value}"
    assert refused(f"{key}={value}", read=quick) == text


@pytest.mark.parametrize("value", ["0.0", "-1.0", "nan", "inf"])
@pytest.mark.parametrize("key", ["train.optimizer.lr", "train.lr_scale"])
def test_rates_are_positive(key: str, value: str) -> None:
    text = f"{key} must be a positive number, got {value}"
    assert refused(f"{key}={value}", read=quick) == text


@given(st.floats())
@settings(max_examples=25)
@example(0.0).via("the open end")
@example(float("nan")).via("not a number")
def test_theta_outside_is_refused(theta: float) -> None:
    assume(not 0 < theta <= 1)
    text = refused(f"theta={theta!r}", read=quick)
    shown = text.removeprefix("theta must lie in (0, 1], got ").partition(":")[0]
    assert text == THETA.format(shown)
    assert repr(float(shown)) == repr(theta)


@given(st.floats(0, 1, exclude_min=True))
@settings(max_examples=15)
@example(1.0).via("the closed end")
def test_theta_inside_reaches_the_layers(theta: float) -> None:
    config = quick(f"theta={theta!r}")
    assert config.defence.conv is not None
    assert config.theta == config.defence.conv.theta == theta


@given(st.integers(0, 4 * 255), st.sampled_from(["", " "]))
def test_a_fraction_is_the_same_epsilon_as_its_numerator(k: int, space: str) -> None:
    assert parse_epsilon(f"{k}{space}/{space}255", 1 / 255) == k == parse_epsilon(k, 1 / 255)
    assert parse_epsilon(f"{k}/255", 1.0) == k / 255


@given(st.floats(0, 1e6))
def test_a_number_is_read_to_nine_digits(value: float) -> None:
    assert parse_epsilon(value, 1 / 255) == parse_epsilon(repr(value), 1 / 255) == round(value, 9)
    assert parse_epsilon(value, 1.0) == value


@given(
    st.text(string.ascii_letters, min_size=1)
    | st.floats(max_value=0, exclude_max=True).map(repr)
    | st.from_regex(r"[a-z]/255|8/[a-z]|[0-9]/0|-[0-9]/255|8//255|8/", fullmatch=True)
)
def test_an_epsilon_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_epsilon(text, 1 / 255, key="attack.pgd.epsilon")
    assert str(caught.value) == EPSILON.format("attack.pgd.epsilon", text)


@pytest.mark.parametrize(
    ("plus", "value", "shown"),
    [
        *(("", value, value) for value in ("big", "-1", "nan", "1/0")),
        *((plus, "[2,big]", "big") for plus in ("", "++")),
    ],
)
def test_an_epsilon_in_a_configuration_that_cannot_be_read_is_named(
    plus: str, value: str, shown: str
) -> None:
    for key in ("eval.epsilon", "attack.fgsm.epsilon"):
        assert refused(f"{plus}{key}={value}") == EPSILON.format(key, shown)


@pytest.mark.parametrize(
    ("value", "read"), [("8/255", [8.0]), ("[8/255,16]", [8.0, 16.0]), ("0.5", [0.5])]
)
def test_epsilons_are_in_the_unit_of_the_data(value: str, read: list[float]) -> None:
    config = composed([f"eval.epsilon={value}", "attack=[fgsm,pgd]"])
    assert config.dataset.unit == 1 / 255
    assert {key: attack.epsilon for key, attack in config.attack.items()} == {
        "fgsm": read,
        "pgd": read,
    }


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("theta=1.0000001", THETA.format("1.0000001")),
        ("++theta=0", THETA.format("0")),
        ("theta=null", "theta needs a value, got None: see configs/config.yaml"),
        ("train.gamma=null", "train.gamma needs a value, got None: see configs/train/"),
        ("+theta=2", "theta exists already: write theta=2 without the +"),
        ("+attack.pgd.epsilon=x", "attack.pgd.epsilon exists already: write "),
        ("theta=0.9,0.8", "theta=0.9,0.8 is a sweep: add -m, or quote the value"),
        ("attack=fgsm,pgd", "attack=fgsm,pgd is a sweep: add -m, or quote the value"),
        ("attack=[fgsm,nosuch]", "attack/nosuch does not exist: choose one of "),
        ("attack=null", "attack=null: name an option, one of "),
        ("model=null", "model=null: name an option, one of "),
        ("~theta", "~theta: a key cannot be taken away, give it another value"),
        ("theta", "'theta' is no key=value: write one, such as theta=0.9"),
        ("=3", "'=3' is no key=value: write one, such as theta=0.9"),
        ("theta==0.9", "theta==0.9 cannot be read: write key=value, special characters in"),
        ("theta=[1", "theta=[1 cannot be read: write key=value, special characters in q"),
        ("++dataset=mnist", "++dataset=mnist: a group takes no ++, write dataset=mnist"),
        ("precision.name=xnor", "precision.name=xnor: the name belongs to the option, choose it "),
        ("scale.name=paper", "scale.name=paper: the name belongs to the option, choose it with "),
        ("eval=3", "eval is a group of keys, not a value: set one of them, see configs/"),
        ("attack.pgd=3", "attack.pgd is a group of keys, not a value: set one of them, see conf"),
        ("+attack.foo.epsilon=3", "attack.foo is no attack: choose with attack=[fgsm,pgd] among "),
        ("train.gamma=5", "train.gamma must be in (0, 1], got 5.0"),
        ("train.gamma=nan", "train.gamma must be in (0, 1], got nan"),
        ("train.milestones=[2]", "train.milestones are shares of the schedule, between 0 and 1, "),
        ("dataset.unit=0", "dataset.unit must be positive, got 0: such as 1/255"),
        ("tucker.modes=[[1]]", "tucker.modes must list modes of the core (0 filters, 1 channels, "),
        ("eval.epsilon=[]", "eval.epsilon=[] has no epsilon: write one, such as [8], or "),
        ("eval.images=0", "eval.images must be at least 1, got 0"),
        ("train.images=0", "train.images must be at least 1, got 0"),
        ("train.warmup=-1", "train.warmup must be between 0 and 1, got -1.0"),
        ("train.warmup=1.5", "train.warmup must be between 0 and 1, got 1.5"),
        ("train.crop=-1", "train.crop must be at least 0, got -1"),
        ("tucker.min_keep=-1", "tucker.min_keep must be at least 0, got -1"),
        ("attack.pgd.steps=0", "attack.pgd.steps must be a whole number, at least 1, got 0"),
        (
            "attack.pgd.steps=[10,true]",
            "attack.pgd.steps must be a whole number, at least 1, got [",
        ),
        ("attack.pgd.steps=[]", "attack.pgd.steps must be a whole number, at least 1, got []"),
        (
            "attack.pgd.steps=[10,20]",
            "attack.pgd.steps=[10, 20]: only a surface (experiment.form=surface) holds several; ",
        ),
        ("+attack.pgd.runs=0", "attack.pgd.runs must be at least 1, got 0"),
        ("attack.pgd.step_size=0", "attack.pgd.step_size must be positive, in the data's unit, "),
        ("attack.bim.steps_round=up", "attack.bim.steps_round must be one of floor, nearest, ceil"),
        ("tucker.rank=nosuch", "tucker.rank must be full, same or a fraction in (0, 1], got 'no"),
        ("tucker.rank=0", "tucker.rank must be full, same or a fraction in (0, 1], got 0"),
        (
            "landscape.points=5",
            "landscape.points=5: there is no landscape here, choose landscape=OP",
        ),
        (
            "defence.relu.bits=5",
            "defence.relu.bits=5: there is no defence.relu here, choose defence=",
        ),
        ("tucker.modes=[7]", "tucker.modes must list modes of the core (0 filters, 1 channels, "),
    ],
)
def test_a_word_that_cannot_be_is_refused(override: str, text: str) -> None:
    assert refused(override).startswith(text)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("image", -1, "must be at least 0, got -1"),
        ("points", 10, "must be odd and at least 3, got 10: the image is the middle one"),
        ("points", 1, "must be odd and at least 3, got 1: the image is the middle one"),
        (
            "draws",
            1,
            "must be at least 2, got 1: it is the average's, one draw has a version of it",
        ),
        ("extent", 0.0, "must be a positive number, got 0.0"),
        ("extent", "inf", "must be a positive number, got inf"),
        ("direction", "up", "must be one of gradient, sign, got 'up'"),
        (
            "directions",
            "nosuch",
            "must be own or a method, got 'nosuch': choose one of adversarial",
        ),
        ("circle", "big", "=big cannot be read: write a number >= 0"),
    ],
)
def test_a_landscape_s_rules(key: str, value: Any, text: str) -> None:
    said = refused("landscape=plane", f"landscape.{key}={value}", read=quick)
    assert said.removeprefix(f"landscape.{key}").lstrip().startswith(text)


def test_a_landscape_s_circle_is_in_the_unit_of_the_data() -> None:
    for circle in ("16", "16/255"):
        made = quick("landscape=plane", f"landscape.circle={circle}").landscape
        assert made is not None and made.circle == 16
    assert quick().landscape is None


@pytest.mark.parametrize(
    ("words", "multirun", "thetas"),
    [
        (["theta=0.8"], False, [0.8]),
        (["theta=1,0.9", "seed=0,1"], True, [1.0, 1.0, 0.9, 0.9]),
        (["experiment=table1"], False, [1.0, 1.0, 0.95, 0.9, 0.8]),
    ],
)
def test_a_sweep_is_the_jobs_that_hydra_makes_of_it(
    words: list[str], multirun: bool, thetas: list[float]
) -> None:
    assert [config.theta for config in cfg.jobs(words, multirun=multirun)] == thetas


def test_every_job_is_checked_before_the_first() -> None:
    read = partial(cfg.jobs, multirun=True)
    assert refused(["theta=1,2"], read=read) == THETA.format("2")
    assert refused(["theta=[1"], read=read).startswith("theta=[1 cannot be read")


# --- identity -----------------------------------------------------------------------------------


@cache
def recipe(*overrides: str) -> str:
    return cfg.train_config_hash(quick(*overrides))


@pytest.mark.parametrize(
    "overrides",
    [[], ["method=baseline", "train.epochs=7"], ["scale=cpu", "theta=0.8", "tucker.modes=[0,1]"]],
)
def test_the_quick_way_is_the_same(overrides: list[str]) -> None:
    assert quick(*overrides) == composed(overrides)


@pytest.mark.parametrize("theta", ["theta=0.9", "theta=1"])
@pytest.mark.parametrize(
    "override",
    [
        *("paths.runs=elsewhere", "paths.results=elsewhere", "device=cpu", "experiment.title=x"),
        *("logger=none", "logger.mode=online", "logger.project=x", "dataset.root=elsewhere"),
        "logger.artifacts=upload",
        *("attack=[fgsm]", "attack.pgd.steps=3", "eval.epsilon=[1]", "scale.eval_images=7"),
        *("eval.images=20", "eval.runs=1", "eval.seed=5", "eval.batch_size=7"),
        *("eval.autocast=bfloat16", "model.reference=64", "defence.batchnorm=running"),
        "landscape=plane",
        *("model.batchnorm=running", "model.batchnorm=batch", "model.batchnorm=recalibrated"),
    ],
)
def test_what_does_not_decide_weights_is_not_in_the_recipe(theta: str, override: str) -> None:
    assert recipe(theta, override) == recipe(theta)


def test_whatever_decides_weights_changes_the_recipe() -> None:
    changes = [
        *("theta=0.9", "theta=0.95", "theta=1", "defence=none", "seed=1", "scale=cpu"),
        *("dataset=cifar10", "model.width=9", "model.batchnorm=frozen", "train=cifar10_tuned"),
        *("train.epochs=7", "train.batch_size=64", "train.milestones=[0.5]", "train.gamma=0.2"),
        *("train.warmup=0.1", "train.init=scratch", "train.crop=4", "train.autocast=bfloat16"),
        *(
            "train.images=100",
            "train.init_epochs=3",
            "train.lr_scale=0.1",
            "train.optimizer.lr=0.05",
        ),
        *("train.optimizer.momentum=0.8", "train.optimizer.weight_decay=0"),
        *("train.optimizer._target_=torch.optim.Adam", "tucker.rank=same", "tucker.rank=0.5"),
        *("tucker.modes=[0,1]", "tucker.min_dim=1", "tucker.min_keep=2", "tucker.rescale=true"),
        "tucker.init=hosvd",
    ]
    assert len({recipe(change) for change in changes}) == len(changes)


@pytest.mark.parametrize(
    "override",
    [
        *("tucker.modes=[0,1]", "tucker.min_dim=1", "tucker.min_keep=2", "tucker.rescale=true"),
        *("train.init=scratch", "model.batchnorm=frozen"),
    ],
)
def test_a_network_without_a_sketch_does_not_depend_on_its_knobs(override: str) -> None:
    assert recipe("theta=1", override) == recipe("theta=1")
    assert recipe("defence=none", override) == recipe("defence=none")


def test_a_dense_network_does_not_depend_on_the_factorization() -> None:
    dense = {
        recipe("defence=none", o) for o in ("theta=0.5", "tucker.rank=0.5", "tucker.init=hosvd")
    }
    assert dense == {recipe("defence=none")}
    assert recipe("theta=1", "tucker.rank=0.5") != recipe("theta=1")


def test_a_method_is_its_defence_and_theta() -> None:
    for theta in ("0.99", "0.95", "0.9", "0.8", "1"):
        assert recipe(f"method=ours_{theta}") == recipe("defence=tensorization", f"theta={theta}")
    assert recipe("method=baseline") == recipe("defence=none")


@pytest.mark.parametrize(
    "overrides",
    [
        ["theta=0.9"],
        ["theta=0.9", "model.batchnorm=frozen", "train.lr_scale=0.1"],
        ["theta=0.9", "tucker.min_dim=1", "tucker.rescale=true", "attack=[]"],
    ],
)
def test_a_sketched_network_starts_from_the_one_at_theta_1(overrides: list[str]) -> None:
    config = quick(*overrides)
    before = deepcopy(config)
    base = cfg.base_of(config)
    assert config == before
    assert base is not None and base.defence.conv is not None
    assert base.theta == base.defence.conv.theta == 1
    assert cfg.train_config_hash(base) == recipe("theta=1")
    assert cfg.batchnorm(base) == "running"
    assert cfg.base_of(base) is None


@pytest.mark.parametrize("overrides", [["theta=1"], ["defence=none"], ["train.init=scratch"]])
def test_the_others_start_from_scratch(overrides: list[str]) -> None:
    assert cfg.base_of(quick(*overrides)) is None


def parts(config: Config) -> dict[str, Any]:
    assert config.defence.conv is not None
    return {
        "model": config.model,
        "precision": config.precision,
        "train": config.train,
        "train.optimizer": config.train.optimizer,
        "defence": config.defence,
        "defence.conv": config.defence.conv,
    }


@pytest.mark.parametrize("part", parts(quick()))
@pytest.mark.parametrize("default", ["as before", None, 0.0])
def test_a_later_field_leaves_old_identities_alone(part: str, default: Any) -> None:
    config = quick()
    grown = parts(config)[part]
    grown.__class__ = make_dataclass(
        "Later", [("later", Any, field(default=default))], bases=(type(grown),)
    )
    grown.later = default
    assert cfg.train_config_hash(config) == recipe()
    grown.later = "another"
    assert cfg.train_config_hash(config) != recipe()


# Committed rows carry these: a change that breaks them orphans results/cpu and its checkpoints.
TABLE1_AT_CPU = {
    "baseline": "6d37258a38fa027b",
    "baseline_same_budget": "560d26cdef580834",
    "ours_1": "794baf1c206606c4",
    "ours_0.99": "ca885e89f5117b9e",
    "ours_0.95": "26c07b08c2a6c71e",
    "ours_0.9": "c0a6fb188e4fe6d3",
    "ours_0.8": "5b20e7218c12019e",
}


@pytest.mark.parametrize("method", TABLE1_AT_CPU)
def test_the_recipes_of_table_1_stay_what_they_are(method: str) -> None:
    cell = ["experiment=table1", "scale=cpu", "scale.autocast=bfloat16", f"method={method}"]
    assert recipe(*cell) == TABLE1_AT_CPU[method]


@pytest.mark.parametrize("scale", ["smoke", "cpu", "paper"])
def test_the_printed_recipe_at_every_scale_but_fast(scale: str) -> None:
    t = quick(f"scale={scale}", "dataset=cifar10").train
    assert (t.optimizer.lr, t.optimizer.weight_decay, t.crop) == (0.1, 1e-6, 0)
    assert (t.warmup, t.decay, t.milestones) == (0, "steps", [150 / 350, 250 / 350])


def test_fast_has_the_recipe_of_short_schedules() -> None:
    t = quick("scale=fast", "dataset=cifar10").train
    assert (t.optimizer.weight_decay, t.crop, t.warmup, t.decay) == (5e-4, 4, 0.2, "linear")
    tuned = quick("scale=paper", "dataset=cifar10", "train=cifar10_tuned").train
    assert (tuned.optimizer.weight_decay, tuned.crop, tuned.decay) == (5e-4, 4, "steps")
    audio = quick("scale=fast", "experiment=table5").train
    assert (audio.optimizer.weight_decay, audio.crop, audio.decay) == (0, 0, "steps")


@pytest.mark.skipif(
    not (ROOT / "results" / "cpu" / "table1.csv").exists(),
    reason="Table 1 at cpu not yet committed",
)
def test_experiments_rows_carry_these_recipes_and_names() -> None:
    rows = store.read([ROOT / "results" / "cpu" / "rows"])
    assert {TABLE1_AT_CPU[method] for method in METHODS["table1"]} <= {r.recipe for r in rows}
    for method, identity in TABLE1_AT_CPU.items():
        cell = composed(["experiment=table1", "scale=cpu", f"method={method}"])
        for row in (r for r in rows if r.recipe == identity):
            assert row.fingerprint == cfg.digest([identity, row.data_digest], 16)
            assert row.run_id == cfg.run_id(cell, row.fingerprint)


def test_a_run_s_name_spells_every_axis() -> None:
    fingerprint = "0123456789abcdef"
    names = {
        "theta=0.9": "digits-resnet18-real-theta0.9-seed0-01234567",
        "theta=1": "digits-resnet18-real-theta1-seed0-01234567",
        "defence=none": "digits-resnet18-real-dense-seed0-01234567",
        "seed=3": "digits-resnet18-real-theta0.9-seed3-01234567",
    }
    assert {each: cfg.run_id(quick(each), fingerprint) for each in names} == names


def scored(*overrides: str) -> str:
    config = quick("attack=[pgd]", "eval.epsilon=[8]", *overrides)
    return eval_config_hash(config, attacks(config)[0])


@pytest.mark.parametrize("scale", ["cpu", "wide", "fast", "paper"])
def test_audio_keeps_the_printed_network_and_schedule_at_every_scale(scale: str) -> None:
    config = composed(["experiment=table5", f"scale={scale}", "method=ours_0.9"])
    train = config.train
    assert (config.model.width, train.epochs, train.optimizer.lr) == (16, 50, 0.01)
    assert [share * train.epochs for share in train.milestones] == [25, 35]
    assert train.optimizer._target_ == "torch.optim.Adam"
    for name in ("foolbox1_fgsm", "fgsm"):
        radii = [each.radius for each in attacks(config) if each.name == name]
        assert radii == [0.008, 0.032, 0.063]


def test_end_to_end_and_log_mel_differ_in_the_model_alone() -> None:
    ends, mel = (
        composed(["experiment=logmel", f"method={method}"]) for method in ("end_to_end", "log_mel")
    )
    assert (ends.model.name, mel.model.name) == ("soundnet5", "logmel")
    mel.model = ends.model
    assert ends == mel
    assert cfg.train_config_hash(ends) == recipe("experiment=table5", "method=baseline")


def test_audio_takes_the_steps_of_images() -> None:
    made = attacks(composed(["experiment=table5_bim_pgd", "method=baseline"]))
    assert [(a.name, a.steps) for a in made] == [
        (n, s) for n in ("foolbox1_bim", "foolbox1_pgd", "bim", "pgd") for s in (2, 10, 20)
    ]
    assert {a.step_size for a in made} == {1 / 255}
    assert {a.unit for a in made} == {1}


def test_how_a_score_is_made_is_in_the_protocol() -> None:
    changes = [
        *("eval.images=20", "eval.batch_size=7", "eval.autocast=bfloat16", "eval.epsilon=[4]"),
        *("attack=[bim]", "attack.pgd.steps=3", "attack.pgd.step_size=2"),
        *("model.batchnorm=batch", "model.reference=64", "theta=1"),
    ]
    assert len({scored(), *(scored(change) for change in changes)}) == len(changes) + 1
    for same in ("eval.epsilon=8/255", "eval.seed=3", "eval.runs=1", "theta=0.8", "seed=1"):
        assert scored(same) == scored()
    assert scored("theta=1", "model.reference=64") == scored("defence=none")


# --- binary networks ----------------------------------------------------------------------------

BINARY_KNOBS = (
    *("precision.K=false", "precision.alpha=false", "precision.first=binary"),
    *("precision.last=binary", "precision.shortcut=real", "precision.order=sign_conv_norm"),
)


def test_every_choice_of_a_binary_network_decides_its_weights() -> None:
    changes = ["precision=real", *(f"precision=xnor {each}" for each in ("", *BINARY_KNOBS))]
    assert len({recipe(*change.split()) for change in changes}) == len(changes)


@pytest.mark.parametrize("knob", BINARY_KNOBS)
def test_real_weights_have_no_such_choice(knob: str) -> None:
    name = knob.partition("=")[0]
    assert refused(knob) == f"{name} has no meaning for real weights: take precision=xnor"


def test_an_experiment_s_settings_of_attacks_that_are_left_out_go_with_them() -> None:
    config = composed(["experiment=width", "method=width_8", "attack=[]"])
    assert config.attack == {}
    chosen = composed(["experiment=width", "method=width_8", "attack=[eot_pgd]"])
    assert list(chosen.attack) == ["eot_pgd"] and chosen.attack["eot_pgd"].steps == 10
    typed = ["experiment=width", "method=width_8", "attack=[pgd]", "attack.eot_pgd.steps=3"]
    with pytest.raises(UsageError, match="eot_pgd is not selected: write attack=.pgd,eot_pgd]"):
        composed(typed)


@pytest.mark.parametrize(
    ("knob", "allowed"),
    [
        ("precision.shortcut", "real, binary"),
        ("precision.first", "real, binary"),
        ("precision.last", "real, binary"),
        ("precision.order", "norm_sign_conv, sign_conv_norm"),
    ],
)
def test_a_binary_network_s_choices_are_listed(knob: str, allowed: str) -> None:
    text = f"{knob} must be one of {allowed}, got 'nosuch'"
    assert refused("precision=xnor", f"{knob}=nosuch") == text
    missing = f"{knob} must be one of {allowed}, got None"
    assert refused("precision=xnor", f"{knob}=null") == missing


def test_a_surrogate_is_of_all_attacks_or_of_one() -> None:
    config = composed(["precision=xnor", "attack.surrogate=tanh", "+attack.bim.surrogate=tanh075"])
    found = {name: attack.surrogate for name, attack in config.attack.items()}
    assert found == {"fgsm": "tanh", "bim": "tanh075", "pgd": "tanh"}
    assert {a.name: a.surrogate for a in attacks(config)} == found


def test_a_surrogate_is_part_of_the_score_and_not_of_the_weights() -> None:
    scores = {scored("precision=xnor", f"attack.surrogate={s}") for s in ("tanh", "tanh075")}
    assert len(scores) == 2 and scored() not in scores
    assert scored("precision=xnor", "attack.surrogate=identity") == scored()
    assert recipe("precision=xnor", "attack.surrogate=tanh") == recipe("precision=xnor")
    config = quick("precision=xnor", "attack.surrogate=tanh")
    assert eval_config_hash(config, None) == eval_config_hash(quick(), None)


@pytest.mark.parametrize("key", ["attack.surrogate", "+attack.pgd.surrogate"])
def test_a_surrogate_that_cannot_be(key: str) -> None:
    name = key.removeprefix("+")
    unknown = f"{name} must be one of identity, tanh, tanh075, got 'nosuch'"
    assert refused("precision=xnor", f"{key}=nosuch") == unknown
    real = f"{name}=tanh needs a sgn to stand for: take precision=xnor"
    assert refused(f"{key}=tanh") == real


def test_theta_s_default_is_the_precision_s() -> None:
    def theta(*overrides: str) -> float:
        conv = composed(list(overrides)).defence.conv
        assert conv is not None
        return conv.theta

    binary = ("precision=xnor", "theta=0.8")
    assert (theta(), theta("precision=xnor"), theta(*binary)) == (0.9, 0.99, 0.8)
    assert recipe(*binary, "precision.theta=0.5") == recipe(*binary) != recipe("precision=xnor")


@pytest.mark.parametrize("scale", ["paper", "fast", "wide", "smoke"])
def test_table_4_s_networks_are_as_printed_but_at_cpu_scale(scale: str) -> None:
    def network(*overrides: str) -> tuple[object, object]:
        config = composed(["dataset=cifar10", *overrides])
        return config.precision, config.train.optimizer

    table4 = ["experiment=table4", "method=ours_0.99"]
    assert network(*table4, f"scale={scale}") == network("precision=xnor", f"scale={scale}")
    precision = composed([*table4, "scale=cpu"]).precision
    assert (precision.K, precision.shortcut) == (False, "real")


def test_table_4_attacks_one_network_in_three_ways() -> None:
    cells = {m: ["experiment=table4", f"method={m}"] for m in METHODS["table4"]}
    baselines = [recipe(*cell) for m, cell in cells.items() if m.startswith("baseline")]
    assert len(set(baselines)) == 1
    assert recipe(*cells["ours_0.99"]) == recipe(
        *("dataset=cifar10", "defence=tensorization", "theta=0.99"),
        *("precision=xnor_cifar10", "train=cifar10_binary"),
    )
    configs = [quick(*cell) for cell in cells.values()]
    protocols = [eval_config_hash(c, a) for c in configs for a in attacks(c)]
    assert len(set(protocols)) == len(protocols)


# --- what the attacker knows --------------------------------------------------------------------


def test_knowledge_is_of_all_attacks_or_of_one() -> None:
    config = composed(["attack.knowledge=omniscient", "+attack.bim.knowledge=frozen"])
    found = {a.name: a.knowledge for a in attacks(config)}
    assert found == {"fgsm": "omniscient", "bim": "frozen", "pgd": "omniscient"}


def test_knowledge_is_part_of_the_score_and_not_of_the_weights() -> None:
    kinds = ("frozen", "transfer", "omniscient", "blackbox")
    scores = {scored(f"attack.knowledge={kind}") for kind in kinds}
    assert len(scores) == len(kinds) and scored() not in scores
    assert scored("attack.knowledge=fresh") == scored()
    assert recipe("attack.knowledge=frozen") == recipe()
    assert eval_config_hash(quick("attack.knowledge=frozen"), None) == eval_config_hash(
        quick(), None
    )


@pytest.mark.parametrize("key", ["attack.knowledge", "+attack.pgd.knowledge"])
def test_knowledge_that_cannot_be(key: str) -> None:
    name = key.removeprefix("+")
    kinds = "fresh, frozen, transfer, omniscient, blackbox"
    assert refused(f"{key}=nosuch") == f"{name} must be one of {kinds}, got 'nosuch'"
    dense = f"{name}=blackbox needs a defence: the dense network is its own surrogate"
    assert refused(f"{key}=blackbox", "defence=none") == dense


def test_the_control_at_theta_1_is_part_of_the_score_and_not_of_the_weights() -> None:
    assert recipe("eval.sketch=false") == recipe()
    assert scored("eval.sketch=false") != scored() == scored("eval.sketch=true")
    clean = [eval_config_hash(quick(f"eval.sketch={each}"), None) for each in ("true", "false")]
    assert clean[0] != clean[1]


def test_a_control_that_cannot_be() -> None:
    none = "eval.sketch=false is the control of a randomized network, this one has no sketch"
    assert refused("eval.sketch=false", "defence=none").startswith(none)
    assert refused("eval.sketch=false", "theta=1").startswith(none)
    assert refused("eval.sketch=false", "attack.knowledge=frozen") == (
        "eval.sketch=false leaves no draws to know of, got attack.fgsm.knowledge=frozen: "
        "take knowledge=fresh"
    )


@pytest.mark.parametrize(
    ("table", "own", "control"),
    [
        ("honest_table1", "ours_0.9", "pgd_same_budget"),
        ("honest_table4", "ours_0.99", "binary_pgd_same_budget"),
    ],
)
@pytest.mark.parametrize("scale", ["paper", "fast", "wide", "cpu", "smoke"])
def test_pgd_training_of_the_same_budget_computes_as_many_gradients(
    scale: str, table: str, own: str, control: str
) -> None:
    """Ours takes theta = 1's epochs and its own; PGD's batch a gradient a step and one more."""
    ours = composed([f"experiment={table}", f"scale={scale}", f"method={own}"])
    pgd = composed([f"experiment={table}", f"scale={scale}", f"method={control}"])
    sizes = np.abs(np.random.default_rng(0).normal(0, 8, 200_000))
    sizes = sizes[sizes < 16]
    most = np.maximum(1, np.floor(np.minimum(sizes + 4, 1.25 * sizes)))
    steps = float(np.mean((1 + most) / 2))
    base = cfg.base_of(ours)
    assert base is not None
    both = base.train.epochs + ours.train.epochs
    assert pgd.train.epochs * (1 + steps) == pytest.approx(both, rel=0.03)
    assert cfg.base_of(pgd) is None and not cfg.is_random(pgd)
    assert ours.defence.conv is not None
    ours.defence.conv.theta = 1.0
    assert (pgd.defence.conv, pgd.model, pgd.precision) == (
        ours.defence.conv,
        ours.model,
        ours.precision,
    )


@pytest.mark.parametrize("method", ["ours_0.9", "ours_1", "bn_batch", "bn_frozen"])
def test_the_twin_is_the_dense_baseline(method: str) -> None:
    twin = cfg.surrogate_config(composed(["experiment=table1", f"method={method}"]))
    baseline = composed(["experiment=table1", "method=baseline"])
    assert cfg.run_id(twin, "0" * 16) == cfg.run_id(baseline, "0" * 16)
    assert cfg.batchnorm(twin) == cfg.batchnorm(baseline)
    assert cfg.train_config_hash(twin) == cfg.train_config_hash(baseline)


# --- averaging attacks --------------------------------------------------------------------------

EOT = ("attack=[eot_pgd,apgd_ce,apgd_dlr,square]", "eval.epsilon=[8]")


def test_averaging_attacks_are_what_their_files_say() -> None:
    made = attacks(composed([*EOT, "attack.apgd_dlr.draws=5", "attack.square.average=logit"]))
    assert [a.name for a in made] == ["eot_pgd", "apgd_ce", "apgd_dlr", "square"]
    assert [a.draws for a in made] == [20, 20, 5, 20]
    assert [a.steps for a in made] == [50, 100, 100, 1000]
    assert attacks(composed([*EOT, "attack.eot_pgd.steps=null"]))[0].steps == 10  # the paper's
    assert dict(made[3].options) == {"average": "logit", "draws": 20, "restarts": 1, "p": 0.8}
    assert attacks(composed(["attack=[pgd]"]))[0].draws == 1


def test_what_an_averaging_attack_does_is_in_the_protocol() -> None:
    attack = ("attack=[eot_pgd]", "eval.epsilon=[8]")
    changes = [
        *("attack.eot_pgd.draws=5", "attack.eot_pgd.average=logit", "attack.eot_pgd.restarts=2"),
        *("attack.eot_pgd.keep=last", "attack.eot_pgd.steps=100", "eval.draws=30"),
    ]
    assert len({scored(*attack), *(scored(*attack, c) for c in changes)}) == len(changes) + 1
    assert recipe(*attack, "eval.draws=30") == recipe()


def test_a_held_draw_is_not_scored_many_times() -> None:
    assert refused("attack=[pgd]", "attack.knowledge=frozen", "eval.draws=30") == (
        "attack.pgd.knowledge=frozen is scored on the one draw that it holds, got eval.draws=30: "
        "take eval.draws=1 and eval.runs=30, each with a draw of its own"
    )


def test_draws_of_the_score_fit_a_row() -> None:
    assert refused("eval.gradient_images=64") == (
        "eval.gradient_images=64 compares the gradients of draws, got eval.draws=1: take "
        "eval.draws=10, or leave it null"
    )
    text = "eval.draws must be at most 255, a row's byte, got 300"
    assert refused("eval.draws=300") == text
    assert refused("eval.draws=0") == "eval.draws must be at least 1, got 0"


# --- other defences -----------------------------------------------------------------------------

TRAINED = ("quantization", "adversarial_pgd", "adversarial_rfgsm", "tensorization_pgd")


def test_every_choice_of_a_defence_decides_its_weights() -> None:
    changes = [
        "defence=quantization",
        *(f"defence=quantization defence.{each}" for each in ("beta=0", "beta=1e-3")),
        *(f"defence=quantization defence.relu.{each}" for each in ("bits=2", "clip=1")),
        *("defence=adversarial_pgd", "defence=adversarial_rfgsm", "defence=tensorization_pgd"),
        *(
            f"defence=adversarial_pgd defence.perturb.{each}"
            for each in ("sigma=4", "largest=8", "step_size=2", "steps_round=ceil")
        ),
        *("defence=adversarial_pgd defence.perturb.random_start=false",),
        *(
            f"defence=adversarial_rfgsm defence.perturb.{each}"
            for each in ("epsilon=4", "alpha=2", "level=2")
        ),
        "defence=tensorization_pgd defence.perturb.draws=frozen",
        "defence=tensorization_pgd defence.perturb.draws=frozen defence.perturb.update=attack",
        *("defence=none", "defence=tensorization"),
    ]
    assert len({recipe(*change.split()) for change in changes}) == len(changes)


def test_squeezing_joins_the_dense_network_and_changes_its_scores() -> None:
    squeezed = quick("defence=squeezing", "attack=[pgd]", "eval.epsilon=[8]")
    assert recipe("defence=squeezing") == recipe("defence=none")
    assert cfg.run_id(squeezed, "0" * 16) == cfg.run_id(quick("defence=none"), "0" * 16)
    through, oblivious, plain, coarse = (
        scored(*each.split())
        for each in (
            "defence=squeezing",
            "defence=squeezing attack.input=oblivious",
            "defence=none",
            "defence=squeezing defence.input.bits=4",
        )
    )
    assert len({through, oblivious, plain, coarse}) == 4
    assert (
        len({eval_config_hash(squeezed, None), eval_config_hash(quick("defence=none"), None)}) == 2
    )
    blind = quick("defence=squeezing", "attack.input=oblivious")
    assert eval_config_hash(blind, None) == eval_config_hash(squeezed, None)


@pytest.mark.parametrize("theta", ["theta=0.95", "theta=0.8"])
def test_ours_with_adversarial_training_starts_from_ours_at_theta_1(theta: str) -> None:
    config = quick("defence=tensorization_pgd", theta, "train.epochs=3", "train.init_epochs=10")
    base = cfg.base_of(config)
    assert base is not None
    assert cfg.train_config_hash(base) == recipe("theta=1")
    assert config.defence.perturb is not None and config.defence.conv is not None
    assert recipe(theta, "train.init_epochs=7") != recipe(theta)
    assert recipe("theta=1", "train.init_epochs=7") == recipe("theta=1")


def test_a_run_from_theta_1_may_have_epochs_of_its_own() -> None:
    continued = quick("theta=0.9", "train.epochs=10", "train.continued_epochs=3")
    base = cfg.base_of(continued)
    assert (continued.train.epochs, base and base.train.epochs) == (3, 10)
    told = ("train.epochs=3", "train.init_epochs=10")
    assert cfg.train_config_hash(continued) == recipe("theta=0.9", *told)
    own = ("train.continued_epochs=3", *told)
    assert recipe("theta=0.9", *own) == recipe("theta=0.9", *told)
    for alone in ("theta=1", "defence=none"):
        assert recipe(alone, "train.continued_epochs=3") == recipe(alone)


def test_a_dense_network_may_train_as_long_as_ours_below_theta_1() -> None:
    config = quick("method=baseline_same_budget", "train.epochs=10", "train.continued_epochs=3")
    base = cfg.base_of(config)
    assert base is not None and cfg.base_of(base) is None
    assert cfg.train_config_hash(base) == recipe("defence=none", "train.epochs=10")
    assert (config.train.epochs, base.train.epochs) == (3, 10)
    assert cfg.train_config_hash(config) != cfg.train_config_hash(base)
    at_ours = quick("theta=0.9", "train.epochs=10", "train.continued_epochs=3")
    other = cfg.base_of(at_ours)
    assert other is not None and other.train.epochs == base.train.epochs
    assert at_ours.train.epochs == config.train.epochs


@pytest.mark.parametrize("theta", ["theta=1", "theta=0.9"])
def test_a_factorized_network_does_not_start_from_the_dense_one(theta: str) -> None:
    with pytest.raises(UsageError, match="train.init=dense trains the dense network on"):
        quick(theta, "train.init=dense")


def test_scale_wide_continues_from_theta_1_in_fewer_epochs() -> None:
    wide = ("dataset=cifar10", "scale=wide")
    base = cfg.base_of(cfg.composed([*wide, "theta=0.9"]))
    assert base and cfg.train_config_hash(base) == cfg.train_config_hash(
        cfg.composed([*wide, "theta=1"])
    )
    assert cfg.composed([*wide, "theta=0.9"]).train.epochs < base.train.epochs


def test_a_run_s_name_says_its_defence() -> None:
    names = {
        "defence=quantization": "digits-resnet18-real-quantization-seed0-00000000",
        "defence=squeezing": "digits-resnet18-real-dense-seed0-00000000",
        "defence=adversarial_pgd": "digits-resnet18-real-adversarial_pgd-seed0-00000000",
        "defence=tensorization_pgd": (
            "digits-resnet18-real-tensorization_pgd-theta0.9-seed0-00000000"
        ),
    }
    assert {each: cfg.run_id(quick(each), "0" * 16) for each in names} == names


BITS = "quantizes real activations, those of binary layers are one bit each: take precision=real"


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ("precision=xnor defence=quantization", f"defence=quantization {BITS}"),
        ("defence=quantization defence.relu.bits=0", "defence.relu.bits must be between 1 and 16"),
        ("defence=quantization defence.relu.clip=0", "defence.relu.clip must be a positive number"),
        ("defence=quantization defence.beta=-1", "defence.beta must be at least 0, got -1.0"),
        ("defence.beta=1", "defence.beta is for dense kernels, a factorized one exists in the "),
        ("defence=squeezing defence.input.bits=9", "defence.input.bits must be between 1 and 8, "),
        ("attack.input=oblivious", "attack.input=oblivious needs a transform of the input to be "),
        ("attack.input=nosuch", "attack.input must be one of through, oblivious, got 'nosuch'"),
        ("+attack.pgd.input=oblivious", "attack.pgd.input=oblivious needs a transform of the in"),
        (
            "defence=adversarial_pgd defence.perturb.sigma=0",
            "defence.perturb.sigma must be a positive number, got 0.0",
        ),
        (
            "defence=adversarial_pgd defence.perturb.draws=nosuch",
            "defence.perturb.draws must be one of fresh, frozen, got 'nosuch'",
        ),
        (
            "defence=adversarial_pgd defence.perturb.update=attack",
            "defence.perturb.update=attack is of a random network's draws, defence=adversarial_",
        ),
        (
            "defence=tensorization_pgd defence.perturb.update=attack",
            "defence.perturb.update=attack needs one draw to update on: take defence.perturb.draws",
        ),
        (
            "defence=adversarial_pgd defence.perturb.draws=frozen",
            "defence.perturb.draws=frozen is of a random network's draws, defence=adversarial_pgd ",
        ),
        (
            "defence=adversarial_rfgsm defence.perturb.alpha=9",
            "defence.perturb.alpha must lie between 0 and epsilon=8, got 9",
        ),
        ("train.init_epochs=0", "train.init_epochs must be at least 1, got 0"),
    ],
)
def test_a_defence_that_cannot_be(overrides: str, text: str) -> None:
    plus = {} if "+" in overrides else {"read": quick}
    assert refused(*overrides.split(), **plus).startswith(text)


def test_a_surface_s_attacks_are_of_every_number_of_draws_and_steps() -> None:
    """Draws first, so that the steps of each are one walk; one number where nothing is random."""
    words = ["experiment=honest_surface", "scale=cpu", "eval.epsilon=[8]"]
    for method, draws in {
        "ours_0.9": (1, 5, 10, 20, 50),
        "ours_0.9_unsketched": (1,),
        "adversarial_pgd": (1,),
    }.items():
        found = attacks(composed([*words, f"method={method}"]))
        places = [(a.draws, a.steps) for a in found]
        assert places == [(k, n) for k in draws for n in surface.STEPS]
        assert draws in (surface.DRAWS, surface.DRAWS[:1])
        assert len(list(group_by_steps(found))) == len(draws)


def test_an_attack_goes_by_its_key() -> None:
    """And says what it is where that is something else: CE's rows are never taken for DLR's."""
    told = ("attack=[apgd_ce,apgd_ce_omniscient]", "eval.epsilon=[8]")
    found = attacks(quick(*told))
    assert [(a.name, a.knowledge, dict(a.options).get("algorithm")) for a in found] == [
        ("apgd_ce", "fresh", None),
        ("apgd_ce_omniscient", "omniscient", "apgd_ce"),
    ]
    config = quick(*told, "attack.apgd_ce.loss=dlr")
    assert dict(attacks(config)[0].options)["algorithm"] == "apgd_dlr"
    assert eval_config_hash(config, attacks(config)[0]) != eval_config_hash(config, found[0])


def published_methods(name: str) -> set[str]:
    with (ROOT / "results" / "paper" / f"{name}.csv").open(newline="") as file:
        return {record["method"] for record in csv.DictReader(file)}


@pytest.mark.parametrize("experiment", ["table2", "table3"])
def test_every_published_method_has_its_column(experiment: str) -> None:
    config = composed([f"experiment={experiment}"]).experiment
    named = {config.published_as.get(method, method) for method in config.columns}
    assert named - {""} == published_methods(experiment)


def test_networks_are_shared_between_tables() -> None:
    """Nothing is trained twice: Table 2, Table 3 and Figure 1 beside Tables 1 and 4."""

    def of(experiment: str) -> dict[str, str]:
        return {m: recipe(f"experiment={experiment}", f"method={m}") for m in METHODS[experiment]}

    one, two, three, four, figure = map(of, ("table1", "table2", "table3", "table4", "figure1"))
    beside = of("table2b")
    assert beside["baseline"] == beside["sap"] == one["baseline"] != beside["defensive_dropout"]
    assert all(beside[f"ours_{theta}"] == one[f"ours_{theta}"] for theta in ("0.95", "0.9", "0.8"))
    assert two["baseline"] == two["squeezing_through"] == two["squeezing_oblivious"]
    assert two["baseline"] == one["baseline"] and two["ours_0.8"] == one["ours_0.8"]
    assert set(three.values()) == {one["ours_0.9"]}
    for method in ("baseline", "adversarial_pgd", "ours_0.8", "ours_0.95_pgd"):
        assert figure[method] == two[method]
    assert figure["baseline_identity"] == four["baseline_identity"]
    assert figure["binary_ours_0.99"] == four["ours_0.99"]
    bases = [
        cfg.base_of(quick(f"experiment={e}", "scale=cpu", "scale.autocast=bfloat16", f"method={m}"))
        for e, m in (
            ("table2", "ours_0.95_pgd"),
            ("table1", "ours_0.95"),
            ("figure1", "binary_ours_0.99_pgd"),
            ("table4", "ours_0.99"),
        )
    ]
    a, b, c, d = (cfg.train_config_hash(base) for base in bases if base is not None)
    assert a == b == TABLE1_AT_CPU["ours_1"] and c == d


def test_table_3_s_attacker_has_the_full_weights() -> None:
    made = attacks(quick("experiment=table3", "method=ours_0.9_omniscient"))
    assert {a.knowledge for a in made} == {"omniscient"}
    assert [(a.name, a.epsilon) for a in made] == [
        (stops + name, epsilon)
        for stops in ("foolbox1_", "")
        for name in ("fgsm", "pgd", "bim")
        for epsilon in (2, 8, 16)
    ]


def test_figure_1_has_every_epsilon_of_section_4() -> None:
    made = attacks(quick("experiment=figure1", "method=baseline"))
    assert [a.epsilon for a in made if a.name == "pgd"] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert [a.steps for a in made if a.name == "pgd"] == [1, 2, 5, 10, 20, 36, 68, 132]
    assert [a.epsilon for a in made if a.name == "fgsm"] == [1, 2, 4, 8, 16, 32, 64, 128]


@pytest.mark.parametrize("scale", ["cpu", "fast", "paper"])
def test_figure_1_is_real_and_binary_with_and_without_adversarial_training(scale: str) -> None:
    cells = laid("figure1", [f"scale={scale}"]).cells
    made = {
        (c.precision.name, c.defence.conv is not None, c.defence.perturb is not None): c
        for c in cells.values()
    }
    assert len(cells) == len(made) == 8
    assert {c.eval.runs for c in cells.values()} == {3 if scale == "cpu" else 10}
    assert {c.defence.perturb.name for c in made.values() if c.defence.perturb} == {"pgd"}
    assert {c.theta for (kind, ours, _), c in made.items() if kind != "real" and ours} == {0.99}


# --- several processes --------------------------------------------------------------------------

LOCAL = ("train.parallel.batchnorm=local", "train.parallel.processes=2")
OWN = ("train.parallel.draws=own", "train.parallel.processes=2")


def test_the_number_of_processes_is_identity_only_where_weights_depend_on_it() -> None:
    assert len({recipe("theta=0.9", *each) for each in ([], LOCAL, OWN, [*LOCAL, *OWN])}) == 4
    assert recipe("theta=0.9", *LOCAL) != recipe(
        "theta=0.9", *LOCAL[:1], "train.parallel.processes=4"
    )
    assert recipe("theta=1", *OWN) == recipe("theta=1"), "without draws there are none of its own"
    assert recipe("defence=adversarial_pgd", *OWN) != recipe("defence=adversarial_pgd")
    base = cfg.base_of(quick("theta=0.9", *OWN))
    assert base is not None and cfg.train_config_hash(base) == recipe("theta=1")
    assert recipe("theta=0.9", "stage=bases") == recipe("theta=0.9")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (
            ["train.parallel.processes=4"],
            "train.parallel.processes=4 changes no weights where BatchNorm is synchronised and "
            "draws are shared: leave it null",
        ),
        (
            ["train.parallel.draws=own"],
            "train.parallel.processes must be at least 2 with batchnorm=local or draws=own, whose "
            "weights depend on it, got None",
        ),
        (
            [LOCAL[0], "train.parallel.processes=1"],
            "train.parallel.processes must be at least 2 with batchnorm=local or draws=own, whose "
            "weights depend on it, got 1",
        ),
    ],
)
def test_processes_are_said_where_they_matter(overrides: list[str], text: str) -> None:
    assert refused(*overrides, read=quick) == text


def test_a_launcher_brings_our_settings() -> None:
    launchers = [path.stem for path in (CONFIGS / "hydra" / "launch").glob("*.yaml")]
    slurm = ["submitit_slurm", "submitit_slurm_cpu"]
    assert sorted(launchers) == ["joblib", "submitit_local", *slurm]
    words = cfg.launched(["hydra/launcher=joblib", "theta=1", "hydra.launcher.n_jobs=3"])
    with _hydra():
        hydra = compose("config", words, return_hydra_config=True).hydra
        plain = compose("config", [], return_hydra_config=True).hydra
    assert (hydra.launcher.n_jobs, hydra.job.env_set.OMP_NUM_THREADS) == (3, "1")
    assert "BasicLauncher" in plain.launcher._target_ and not plain.job.env_set
    assert cfg.launched(["hydra/launcher=basic"]) == ["hydra/launcher=basic"]


@pytest.mark.parametrize(("device", "asked"), [("auto", (1, 4, 32)), ("cpu", (None, 1, 8))])
def test_no_gpu_is_asked_for_with_the_cpu(device: str, asked: tuple[int | None, int, int]) -> None:
    words = cfg.launched(["hydra/launcher=submitit_slurm", f"device={device}"])
    with _hydra():
        hydra = compose("config", words, return_hydra_config=True).hydra
    launcher = hydra.launcher
    assert (launcher.gpus_per_node, launcher.cpus_per_task, launcher.mem_gb) == asked
    assert str(asked[1]) == hydra.job.env_set.OMP_NUM_THREADS
    assert launcher.additional_parameters.requeue is True

"""Released networks: their file format, what is built from a manifest, and who is refused."""

import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import fake_rows, fake_task
from helpers.command import ended
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import defensive_tensorization as dt
from defensive_tensorization import config as cfg
from defensive_tensorization import sketching
from defensive_tensorization.commands import verify
from defensive_tensorization.commands.release_networks import release
from defensive_tensorization.commands.stored_run import stored
from defensive_tensorization.config import CONFIGS, composed
from defensive_tensorization.data import decode
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.architecture import architecture
from defensive_tensorization.experiment.ensure import evaluated, trained
from defensive_tensorization.experiment.plan import Plan, plan
from defensive_tensorization.experiment.released_networks import manifest, trained_from
from defensive_tensorization.released import source, tensor_file
from defensive_tensorization.released.architecture import Architecture, built, deployed
from defensive_tensorization.released.manifest import Manifest
from defensive_tensorization.released.source import Source
from defensive_tensorization.report import tables
from defensive_tensorization.results import store
from defensive_tensorization.tables import released_notes
from defensive_tensorization.tables.render import render

FIXTURE = Path(__file__).parent / "fixtures" / "written.safetensors"  # by safetensors 0.8.0 itself
WRITTEN = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
    "a.x": np.array(5, dtype=np.int64),
    "é": np.array([[1, 2, 255]], dtype=np.uint8),
    "z": np.array([1.5, -2], dtype=np.float16),
    "empty": np.zeros((0, 3), dtype=np.float32),
    "flag": np.array([True, False]),
    "d": np.array([1e300], dtype=np.float64),
    "s": np.array([-3, 4], dtype=np.int16),
    "i": np.array([7], dtype=np.int32),
    "c": np.array([-1], dtype=np.int8),
}
TINY = (
    *("model.width=2", "model.reference=16", "train.images=64", "train.epochs=1"),
    *("train.batch_size=32", "eval.images=10", "eval.runs=1", "attack=[fgsm]", "eval.epsilon=[4]"),
    *("device=cpu", "logger=none"),
)
NAME = "digits-resnet18-w2/theta-0.9"


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and torch.equal(a[k], b[k]) for k in a
    )


def test_the_format_is_that_of_the_safetensors_package() -> None:
    expected = {name: torch.from_numpy(value) for name, value in WRITTEN.items()}
    assert same(tensor_file.unpacked(FIXTURE.read_bytes(), "fixture"), expected)
    assert tensor_file.packed(expected) == FIXTURE.read_bytes()


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.tuples(
            st.lists(st.integers(0, 3), max_size=3),
            st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.uint8]),
        ),
        max_size=4,
    )
)
def test_whatever_is_packed_is_unpacked(
    shapes: dict[str, tuple[list[int], torch.dtype]],
) -> None:
    made = {name: torch.randint(100, shape).to(kind) for name, (shape, kind) in shapes.items()}
    assert same(tensor_file.unpacked(tensor_file.packed(made), "here"), made)


@pytest.mark.parametrize("cut", [0, 5, 8, 100, -1])
def test_a_damaged_file_is_refused_in_one_line(cut: int) -> None:
    with pytest.raises(UsageError, match="net.safetensors is no safetensors file") as refused:
        tensor_file.unpacked(FIXTURE.read_bytes()[:cut], "net.safetensors")
    assert "\n" not in str(refused.value)


def test_bytes_left_over_and_gaps_are_refused() -> None:
    with pytest.raises(UsageError, match="bytes are left over"):
        tensor_file.unpacked(FIXTURE.read_bytes() + b"x", "net")
    gap = FIXTURE.read_bytes().replace(b'"data_offsets":[0,8]', b'"data_offsets":[1,8]')
    with pytest.raises(UsageError, match="does not fill its place"):
        tensor_file.unpacked(gap, "net")


def test_a_type_without_a_code_is_refused() -> None:
    with pytest.raises(UsageError, match="complex64"):
        tensor_file.packed({"w": torch.zeros(1, dtype=torch.complex64)})


def defences() -> list[tuple[str, ...]]:
    names = sorted(path.stem for path in (CONFIGS / "defence").glob("*.yaml"))
    plain = [(f"defence={name}",) for name in names if name not in ("squeezing", "sap")]
    return [
        *plain,
        ("defence=tensorization", "model.batchnorm=running", "tucker.rank=0.5"),
        ("defence=tensorization", "precision=xnor", "theta=0.99"),
        ("defence=none", "precision=xnor", "precision.order=sign_conv_norm"),
        ("defence=none", "model=convnet"),
    ]


@pytest.mark.parametrize("words", defences(), ids=" ".join)
def test_what_a_manifest_describes_is_the_network_that_is_trained(words: Sequence[str]) -> None:
    split = fake_task.split(16)
    made = Plan(composed([*TINY, *words]), fake_task.task(split, split))
    mine = components.network(made)
    said = json.loads(json.dumps(architecture(made).plain()))
    read = Architecture.read(said)
    theirs = built(read)
    theirs.load_state_dict(mine.state_dict())
    x = decode(split.inputs).contiguous(memory_format=torch.channels_last)
    reference = decode(made.task.train.head(16).inputs)
    classifiers = components.deployed(made, mine).eval(), deployed(read, theirs, reference).eval()
    with torch.no_grad():
        logits = []
        for each in classifiers:
            with sketching.frozen(each, seed=3):
                logits.append(each(x))
    torch.testing.assert_close(*logits, rtol=0, atol=0)


def test_a_part_from_elsewhere_is_not_released() -> None:
    split = fake_task.split(16)
    config = composed([*TINY, "defence=quantization"])
    assert config.defence.relu
    config.defence.relu._target_ = "math.floor"
    with pytest.raises(UsageError, match="relu is math.floor: only the package's own"):
        architecture(Plan(config, fake_task.task(split, split)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny training, its rows, and what was released of it."""
    where = tmp_path_factory.mktemp("released")
    p = plan(composed(words(where)))
    evaluated(p, trained(p), "command")
    release([*folders(where), "scale=smoke"])
    return where


def words(where: Path, *more: str) -> list[str]:
    return [*TINY, *folders(where), "theta=0.9", *more]


def folders(where: Path) -> list[str]:
    return [f"paths.runs={where / 'runs'}", f"paths.results={where / 'results'}"]


def fresh(where: Path) -> list[str]:
    """Of an empty runs folder."""
    return [*TINY, f"paths.runs={where}", f"paths.results={where}"]


def networks(where: Path) -> Path:
    return where / "results" / "smoke" / "networks"


def test_the_manifest_says_where_a_network_comes_from(runs: Path) -> None:
    listed = json.loads((networks(runs) / "manifest.json").read_text())["networks"]
    assert [each["name"] for each in listed] == ["digits-resnet18-w2/theta-0.9", f"{NAME[:-3]}1"]
    p = plan(composed(words(runs)))
    (entry,) = [each for each in listed if each["name"] == NAME]
    assert entry["weights_id"] == p.weights_id and entry["data_digest"] == p.task.digest
    assert entry["weights"] == trained(p).weights
    assert 0 <= entry["clean_low"] <= entry["clean"] <= entry["clean_high"] <= 1
    assert "CC BY" in entry["licence"] and str(runs) not in json.dumps(listed)
    assert f"| {NAME} |" in (networks(runs) / "README.md").read_text()


def test_a_dense_network_that_trained_on_has_a_name_of_its_own(tmp_path: Path) -> None:
    trained(plan(composed([*TINY, *folders(tmp_path), "method=baseline_same_budget"])))
    release([*folders(tmp_path), "scale=smoke"])
    listed = json.loads((networks(tmp_path) / "manifest.json").read_text())["networks"]
    assert [each["name"].split("/")[1] for each in listed] == ["dense", "dense-continued"]
    assert [each["card"].split(", ")[2] for each in listed] == [
        f"{epochs} epochs on scikit-learn digits" for epochs in ("1", "1 + 1")
    ]
    assert len({each["weights"] for each in listed}) == 2


@pytest.mark.parametrize("form", ["{}/" + NAME, "{}/" + NAME + ".safetensors", "file://{}/" + NAME])
def test_load_gives_the_trained_network(runs: Path, form: str) -> None:
    p = plan(composed(words(runs)))
    mine = components.deployed(p, trained(p).network).eval()
    theirs = dt.load(form.format(networks(runs)))
    x = decode(p.task.test.head(5).inputs).contiguous(memory_format=torch.channels_last)
    assert theirs.card.name == NAME and not theirs.training
    with torch.no_grad(), sketching.frozen(mine, seed=1), sketching.frozen(theirs, seed=1):
        torch.testing.assert_close(mine(x), theirs(x), rtol=0, atol=0)


def test_rounded_networks_take_half_the_space_and_are_loaded_as_they_were_rounded(
    runs: Path, tmp_path: Path
) -> None:
    release([*folders(runs)[:1], f"paths.results={tmp_path}", "scale=smoke"], rounded=True)
    rounded = tmp_path / "smoke" / "networks"
    exact, found = dt.load(networks(runs) / NAME), dt.load(rounded / NAME)
    theirs = dict(exact.network.state_dict())
    for name, weight in found.network.state_dict().items():
        kernel = weight.is_floating_point() and weight.ndim > 1
        whole = theirs[name]
        expected = whole.to(torch.bfloat16).float() if kernel else whole
        torch.testing.assert_close(weight, expected, rtol=0, atol=0, msg=name)
    size = [(folder / f"{NAME}.safetensors").stat().st_size for folder in (rounded, networks(runs))]
    assert size[0] < 0.8 * size[1]
    assert "rounded to bfloat16" in found.card.card and "rounded" not in exact.card.card
    p = plan(composed([*fresh(tmp_path / "run"), "theta=0.9", f"networks={rounded}"]))
    assert trained(p).weights == found.card.weights != exact.card.weights


def test_a_name_alone_is_of_the_repository(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "RESULTS", runs / "results")
    assert dt.load(NAME).card.name == NAME


def test_hydra_is_not_needed(runs: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('hydra', 'omegaconf', 'foolbox', 'torchvision', 'filelock'):\n"
        "    sys.modules[name] = None\n"
        "import torch, defensive_tensorization as dt\n"
        f"net = dt.load({str(networks(runs) / NAME)!r})\n"
        "print(list(net(torch.rand(2, 3, 8, 8)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[2, 10]", "")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("{}/digits-resnet18-w2/theta-0.7", "is no released network of .*: did you mean digits"),
        ("theta-0.9", "is no name of a network: write GROUP/NETWORK"),
        ("{}/nowhere/a/b", "nowhere/manifest.json cannot be read .No such file"),
        ("file://{}/nowhere/a/b", "nowhere/manifest.json cannot be read .*No such file"),
        ("ftp://host/a/b", "take a URL of https://"),
        ("https://h o/x/y/z", "^'https://h o/x' is no folder or URL .a URL holds no ' '.: write"),
        ("https://hö/a/b", "a URL holds no 'ö'"),
        ("https:///a/b", "it names no host"),
        ("https://[h/a/b", "is no folder or URL .Invalid IPv6 URL"),
        ("http://h:port/a/b", "is no folder or URL .Port could not be cast"),
        ("file://h/a/b", "followed by a path from /"),
        ("https://host/a", "write GROUP/NETWORK"),
        ("https://h\no/a/b", "leave out the control character"),
        ("a/b\n", "leave out the control character"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(runs: Path, name: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as refused:
        dt.load(name.format(networks(runs)))
    assert "\n" not in str(refused.value)


def test_the_path_of_a_manifest_is_told_once(runs: Path) -> None:
    with pytest.raises(UsageError) as refused:
        dt.load(networks(runs) / "nowhere" / "a" / "b")
    assert str(refused.value).count("nowhere") == 1


@pytest.mark.parametrize(
    ("kind", "x", "told"),
    [
        (
            "images",
            torch.rand(2, 1, 16000),
            r"images [B, 3, H, W], .* in [0, 1], got float32 [2, 1",
        ),
        ("images", torch.rand(3, 8, 8), r"got float32 [3, 8, 8]: take x[None] for a batch of one"),
        ("images", torch.rand(2, 1, 8, 8), r"got float32 [2, 1, 8, 8]: give images of this shape"),
        ("images", torch.ones(2, 3, 8, 8).byte(), r"got uint8 [2, 3, 8, 8]: take x.float() / 255"),
        ("images", [1.0], r"got list: give images of this shape"),
        ("clips", torch.rand(2, 3, 8, 8), r"clips [B, 1, 16000], .* in [-1, 1], got float32 [2, 3"),
        ("clips", torch.rand(1, 16000), r"got float32 [1, 16000]: take x[None] for a batch of one"),
        ("clips", torch.rand(2, 1, 8000), r"got float32 [2, 1, 8000]: give clips of this shape"),
        ("clips", torch.ones(2, 1, 16000).short(), r"take x.float() / 32768"),
    ],
)
def test_inputs_of_another_kind_are_refused(runs: Path, kind: str, x: Any, told: str) -> None:
    net = dt.load(networks(runs) / NAME)
    if kind == "clips":
        made = replace(net.card.architecture, mean=(0.0,), std=(1.0,))
        net.card = replace(net.card, kind="clips", bounds=(-1.0, 1.0), architecture=made)
    pattern = ".*".join(map(re.escape, told.split(".*")))
    with pytest.raises(ValueError, match=f"^{re.escape(NAME)} takes .*{pattern}") as refused:
        net(x)
    assert "\n" not in str(refused.value)


def test_a_changed_file_is_refused(runs: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(networks(runs), tmp_path / "copy"))
    file = copy / f"{NAME}.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UsageError, match="has sha256 .* the manifest says .* fetch it again"):
        dt.load(copy / NAME)


def test_a_run_takes_the_released_network_and_measures_the_same(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = plan(composed(words(runs)))
    there = evaluated(mine, trained(mine), "command")
    config = composed([*fresh(tmp_path), "theta=0.9", f"networks={networks(runs)}"])
    with caplog.at_level(logging.INFO):
        p = plan(config)
        rows = evaluated(p, trained(p), "command")
    told = "\n".join(caplog.messages)
    assert f"released as {NAME}" in told and "epochs" not in told
    assert not p.checkpoint.exists()
    kept = ("key", "weights", "trained_commit", "robust_accuracy", "clean_accuracy")
    assert [[getattr(r, k) for k in kept] for r in rows] == [
        [getattr(r, k) for k in kept] for r in there
    ]


def test_networks_train_and_other_data_train(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    p = plan(composed([*fresh(tmp_path), "theta=1", f"networks={networks(runs)}"]))
    other = Plan(p.config, replace(p.task, digest="0" * 16))
    with caplog.at_level(logging.INFO):
        trained(other)
        trained(plan(cfg.amended(p.config, ["networks=train"])))
    told = "\n".join(caplog.messages)
    assert "was released of other data" in told and "released as" not in told
    assert told.count("1 epochs") == 2


def test_a_table_says_which_networks_are_released(runs: Path, tmp_path: Path) -> None:
    folder = networks(runs)
    out = [f"paths.runs={runs / 'runs'}", f"paths.results={tmp_path}"]
    paths = render(
        "quickstart",
        [
            *(*TINY, *out, "model=resnet18", "train.init_epochs=null", "eval.draws=1"),
            "train.lr_scale=1",
            f"networks={folder}",
        ],
    )
    (page,) = [path for path in paths if path.suffix == ".md" and path.stem == "quickstart"]
    assert NAME in page.read_text() and "not released" not in page.read_text()


def test_verify_holds_networks_against_committed_rows(
    runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = shutil.copytree(networks(runs), tmp_path / "smoke" / "networks")
    p = plan(composed(words(runs, "eval.runs=3")))
    rows = evaluated(p, trained(p), "command")
    for row in rows:
        store.append(tmp_path / "smoke" / "rows" / "run.jsonl", row)
    asked = ["scale=smoke", f"paths.results={tmp_path}", f"networks={kept}", "eval.images=10"]
    (clean, fgsm) = verify.compared([*asked, "device=cpu"])
    ours = [row for row in rows if row.eval_seed == 0]
    assert [clean.here, fgsm.here] == [row.robust_accuracy for row in ours]  # the same images
    assert fgsm.committed == pytest.approx(
        np.mean([row.robust_accuracy for row in rows if row.attack == "fgsm"])
    )
    assert (fgsm.epsilon, fgsm.network, fgsm.same_data) == (4.0, NAME, True)
    assert clean.holds(2) and fgsm.holds(2)
    monkeypatch.setattr("sys.argv", ["verify.py", *asked, "device=cpu"])
    with pytest.raises(SystemExit) as ended:
        verify.main()
    assert ended.value.code == 0 and "2 of 2 hold" in capsys.readouterr().out

    def gone(config: cfg.Config) -> None:
        raise UsageError("its images are missing")

    monkeypatch.setattr(verify, "plan", gone)  # data that are not here
    with pytest.raises(UsageError, match="its images are missing"):
        verify.compared([*asked, "device=cpu"])
    twins = shutil.copytree(kept, tmp_path / "twins")
    listed = json.loads((kept / "manifest.json").read_text())
    listed["networks"] += [each | {"name": f"{each['name']}-twin"} for each in listed["networks"]]
    (twins / "manifest.json").write_text(json.dumps(listed))
    other = [*asked, f"networks={twins}", "device=cpu", "dataset=synthetic_tones"]
    with caplog.at_level("INFO"), pytest.raises(UsageError, match="or their data are not here"):
        verify.compared([*other, "model=soundnet5"])
    told = [message for message in caplog.messages if "are not compared" in message]
    assert told == [
        "networks of digits are not compared, name dataset=digits: its images are missing"
    ]  # once for both


def test_verify_takes_rows_of_several_draws_where_nothing_is_random() -> None:
    clean = {"attack": "clean", "epsilon": 0.0, "scored": 30}
    fixed, drawn = (fake_rows.row(random=random, **clean) for random in (False, True))
    assert verify._plain([fixed, drawn], "clean", 0.0) == [fixed]


@pytest.mark.parametrize(("here", "holds"), [(0.5, True), (0.57, True), (0.58, False)])
def test_verify_allows_what_chance_does(here: float, holds: bool) -> None:
    """By hand: two comparisons at 99% together are 2.807 deviations of 0.0263 each."""
    made = verify.Comparison("net", "pgd", 8.0, here, 0.5, 0.0263**2, True)
    assert made.allowed(2) == pytest.approx(2.807 * 0.0263, rel=1e-3)
    assert made.holds(2) is holds


def test_an_audit_finds_a_released_network(runs: Path) -> None:
    config = stored(NAME, [f"networks={networks(runs)}", "audit.images=5"])
    assert cfg.train_config_hash(config) == cfg.train_config_hash(composed(words(runs)))
    assert config.audit.images == 5
    with pytest.raises(UsageError, match="an override changes what .* was trained from"):
        stored(NAME, [f"networks={networks(runs)}", "train.epochs=3"])


def test_an_audit_proposes_released_networks(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a name without its group too."""
    monkeypatch.setattr(source, "RESULTS", tmp_path)
    words = [f"networks={networks(runs)}", f"paths.runs={tmp_path}"]
    for asked in ("theta-0.9", "theta-0.99"):
        with pytest.raises(UsageError) as refused:
            stored(asked, words)
        assert f"MODEL={asked} is no trained run of {tmp_path}" in str(refused.value)
        assert f"did you mean {NAME}" in str(refused.value)


def test_places_that_are_named_reach_a_released_network(runs: Path, tmp_path: Path) -> None:
    """Its data's cache is in the runs folder; its own configuration holds no folder."""
    (entry,) = [e for e in Manifest.at(Source(str(networks(runs)))).entries.values()][:1]
    cifar10 = cfg.plain(composed(["dataset=cifar10"]))
    entry = replace(entry, config=cifar10)
    config = trained_from(entry, [f"paths.runs={tmp_path}", "dataset.root=mine", "audit.images=5"])
    assert config.dataset.cache == f"{tmp_path}/cache" and config.dataset.root == "mine"
    assert config.paths.runs == str(tmp_path)
    assert trained_from(entry, ["dataset.cache=null"]).dataset.cache is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("releasd", "networks=releasd is no folder: take train, .*; did you mean released?"),
        ("nowhere", "networks=nowhere is no folder: take train, released, any, or a folder or URL"),
        ("{}", "networks={}: {}/manifest.json cannot be read (No such file"),
        ("https://h o/x", "networks=https://h o/x: 'https://h o/x' is no folder or URL"),
    ],
)
def test_a_wrong_value_of_networks_names_the_key(tmp_path: Path, value: str, told: str) -> None:
    config = composed([f"networks='{value.format(tmp_path)}'"])
    with pytest.raises(UsageError) as refused:
        manifest(config)
    pattern = ".*".join(map(re.escape, told.replace("{}", str(tmp_path)).split(".*")))
    assert re.match(pattern, str(refused.value))
    assert "\n" not in str(refused.value)


def test_nothing_is_written_for_a_typo_in_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = ended(["networks=releasd", "logger=none"], tmp_path, capsys)
    assert code == 2 and re.fullmatch(r"error: networks=releasd is no folder: [^\n]+\n", error)
    assert not any(tmp_path.iterdir())


def test_networks_any_evaluates_on_other_data_and_says_so(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "RESULTS", runs / "results")
    p = plan(composed([*fresh(tmp_path), "theta=0.9", "networks=any"]))
    other = Plan(p.config, replace(p.task, digest="0" * 16, title="other digits"))
    mine = plan(composed(words(runs)))
    rows = evaluated(other, trained(other), "command")
    assert {row.weights for row in rows} == {trained(mine).weights}
    assert {(row.fingerprint, row.data_digest) for row in rows} == {(mine.weights_id, "0" * 16)}
    column = tables.Column("Ours", "", rows[0].recipe)
    ((topic, told),) = released_notes.notes(p.config, [column], rows)
    assert topic == "networks" and f"{NAME}, trained on {mine.task.title}" in told
    with pytest.raises(UsageError, match="holds rows on other data, other digits"):
        evaluated(p, trained(p), "command")


def test_a_network_released_in_the_other_precision_is_found(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a processor without bfloat16 finds those that were trained in it."""
    monkeypatch.setattr("defensive_tensorization.config.autocast.bfloat16", lambda _: "AMX")
    auto = ["scale.autocast=auto", "eval.autocast=float32", "theta=0.9"]
    config = composed([*fresh(tmp_path), *auto, f"networks={networks(runs)}"])
    assert config.train.autocast == "bfloat16"
    p = plan(config)
    assert p.config.train.autocast == "float32"
    assert p.weights_id == plan(composed(words(runs))).weights_id


def test_a_name_that_is_no_string_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"^a network's name must be a string, got 3: such as"):
        dt.load(3)  # type: ignore[arg-type]

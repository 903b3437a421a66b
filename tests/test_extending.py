"""docs/extending.md: its model, data set, attack and defence, from a folder outside the package."""

import re
from pathlib import Path

import pytest
from helpers.forked import forked

from defensive_tensorization import config as cfg
from defensive_tensorization.config import CONFIGS, composed
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment import components
from defensive_tensorization.experiment.evaluation_config import eval_config_hash
from defensive_tensorization.experiment.plan import attacks, plan
from defensive_tensorization.results import store
from defensive_tensorization.run import main, run
from defensive_tensorization.tables.caption_settings import settings

ROOT = CONFIGS.parent
PAGE = (ROOT / "docs" / "extending.md").read_text()
FILES = re.findall(r"^`(mine/[\w/.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, flags=re.M | re.S)
[SHOWN] = [
    c for c in re.findall(r"^    python -m (.*)$", PAGE, re.M) if "attack=[fgsm,corner]" in c
]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside") / "mine"
    for name, text in FILES:
        path = folder.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def words(mine: Path, *more: str) -> list[str]:
    parts = ["model=two_layers", "dataset=stripes", "defence=blurred", "attack=[fgsm,corner]"]
    small = ["train.epochs=1", "eval.images=20", "eval.runs=1", "eval.epsilon=[8]", "device=cpu"]
    out = [f"paths.runs={mine.parent / 'runs'}", "logger=none", "eval.batch_size=20"]
    return [f"hydra.searchpath=[file://{mine}]", *parts, *small, *out, *more]


def test_the_page_shows_one_file_and_one_option_of_each() -> None:
    assert [name for name, _ in FILES] == [
        *("mine/two_layers.py", "mine/model/two_layers.yaml"),
        *("mine/stripes.py", "mine/dataset/stripes.yaml"),
        *("mine/corner.py", "mine/attack/corner.yaml"),
        *("mine/blur.py", "mine/defence/blurred.yaml"),
    ]


def test_the_command_of_the_page_runs_in_a_folder_of_ones_own(mine: Path) -> None:
    asked = [word.strip("'") for word in SHOWN.split()]
    small = ["train.images=64", "eval.images=10", "eval.runs=1", "logger=none", "device=cpu"]
    assert asked.pop(0) == "defensive_tensorization"
    code, _, error = forked(main, [*asked, *small], mine.parent).ended()
    assert (code, error) == (0, "")
    rows = store.read([mine.parent / "runs" / "rows"])
    assert {(row.dataset, row.model, row.defence) for row in rows} == {
        ("stripes", "two_layers", "blurred")
    }
    corners = [row for row in rows if row.attack == "corner"]
    assert {row.settings["corners"] for row in corners} == {"10"}
    assert all("hydra.searchpath" in row.command for row in rows)


def test_own_parameters_reach_the_code(mine: Path) -> None:
    more = ("dataset.options.count=40", "model.options.window=5", "defence.input.options.share=1")
    p = plan(composed(words(mine, *more, "attack.corner.options.corners=3")))
    assert len(p.task.train) == 40
    network = components.network(p)
    assert network.layers[1].kernel_size == (5, 5)  # type: ignore[union-attr, index]
    classifier = components.classifier(p, network)
    assert classifier.transform is not None and classifier.transform.share == 1
    assert [attack.steps for attack in attacks(p.config)] == [1, 3]


def test_they_are_part_of_the_identity(mine: Path) -> None:
    config = composed(words(mine))
    other = composed(words(mine, "model.options.window=5"))
    assert cfg.train_config_hash(config) != cfg.train_config_hash(other)
    blurred = composed(words(mine, "defence.input.options.share=0.1"))
    assert cfg.train_config_hash(config) == cfg.train_config_hash(blurred)  # it joins the weights
    assert eval_config_hash(config, None) != eval_config_hash(blurred, None)
    more = composed(words(mine, "attack.corner.options.corners=4"))
    hashes = [eval_config_hash(c, attack) for c in (config, more) for attack in attacks(c)]
    assert hashes[0] == hashes[2] and hashes[1] != hashes[3]


def test_a_network_without_them_keeps_its_identity() -> None:
    """One from before there were options: results/cpu's dense network."""
    words = ["dataset=cifar10", "scale=cpu", "defence=none", "train.autocast=bfloat16"]
    known = store.read([ROOT / "results/cpu/rows/cifar10-resnet18-real-dense-seed0-f5144d7f.jsonl"])
    assert cfg.train_config_hash(composed(words)) == known[0].recipe


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("attack.corner.options.corner=3", "unknown key attack.corner.options.corner"),
        (
            "+attack.corner.options.corner=3",
            "attack.corner.options.corner=3: corner.corner takes no corner, leave it out",
        ),
        ("+attack.corner.corners=3", "own as attack.corner.options.corners"),
        ("attack.corner.edges=3", r"own as \+attack.corner.options.edges"),
        ("attack.corner.options.cornrs=3", "did you mean attack.corner.options.corners?"),
        ("+defence.input.share=3", "own as defence.input.options.share"),
        ("+attack.corner.options.epsilon=3", "options.epsilon is given beside epsilon"),
        ("attack.corner.options.corners='1 2'", "a row keeps no spaces"),
    ],
)
def test_a_parameter_that_is_nobodys_is_refused(mine: Path, word: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as refused:
        plan(composed(words(mine, word)))
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="nowhere is no folder"):
        composed(["hydra.searchpath=[file://nowhere]"])


def test_an_option_that_is_not_there_is_answered_with_ones_own_too(mine: Path) -> None:
    folder = f"hydra.searchpath=[file://{mine}]"
    near = re.escape(f"did you mean two_layers? (all: configs/model/ and {mine}/model/)")
    with pytest.raises(UsageError, match=f"^model/two_layer does not exist: {near}$"):
        composed([folder, "model=two_layer"])
    with pytest.raises(UsageError, match="name an option, one of .*, two_layers"):
        composed([folder, "model=null"])
    with pytest.raises(UsageError, match="choose it with model=OPTION, one of .*, two_layers"):
        composed([folder, "model.name=two_layers"])


def test_a_random_part_is_evaluated_under_every_seed(mine: Path, tmp_path: Path) -> None:
    (mine / "noise.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Noise(nn.Module):\n"
        "    def __init__(self, *, size):\n        super().__init__()\n        self.size = size\n"
        "    def forward(self, x):\n        return x + self.size * torch.randn_like(x)\n"
    )
    (mine / "defence" / "noisy.yaml").write_text(
        "name: noisy\nbatchnorm: running\ninput: {_target_: noise.Noise, options: {size: 1.0}}\n"
    )
    more = ("defence=noisy", "attack=[fgsm]", "eval.runs=3", f"paths.runs={tmp_path}")
    config = composed(words(mine, *more))
    assert cfg.is_random(config) and not cfg.is_random(composed(words(mine)))
    run(config, "command")
    rows = [row for row in store.read([tmp_path / "rows"]) if row.attack == "clean"]
    assert all(row.random and row.seconds > 0 for row in rows) and len(rows) == 3
    told = dict(settings({"noisy": config}))
    assert "input noise.Noise(size 1.0)" in told["defence"]

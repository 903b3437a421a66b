"""The loss on a plane: known analytically for a linear network, one draw where one is said."""

from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.fake_task import split, task
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from torch import Tensor, nn

from defensive_tensorization import sketching
from defensive_tensorization.config import Config, composed, plane_of
from defensive_tensorization.data import decode
from defensive_tensorization.errors import UsageError
from defensive_tensorization.experiment import components, loss_landscape
from defensive_tensorization.experiment.ensure import Trained, trained
from defensive_tensorization.experiment.plan import Plan, plan
from defensive_tensorization.results import landscape_panels
from defensive_tensorization.run import run

SMALL = (
    *("landscape=plane", "landscape.points=5", "landscape.draws=3", "landscape.image=2"),
    *("model.width=2", "model.reference=8", "eval.batch_size=7", "logger=none", "device=cpu"),
)
SEED = 7


def linear(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).eval().requires_grad_(False)


def image() -> Tensor:
    return decode(split(1).inputs[0])


def laid(where: Path, *overrides: str) -> Plan:
    """A run of a small network on made-up images."""
    return Plan(configured(where, *overrides), task(split(16), split(12, seed=1)))


def configured(where: Path, *overrides: str) -> Config:
    config = deepcopy(small(*overrides))
    config.paths.runs = str(where)
    return config


@cache
def small(*overrides: str) -> Config:
    return composed([*SMALL, *overrides])


def of(p: Plan, weights: str = "w") -> Trained:
    return Trained(components.network(p), weights, "c0ffee")


def made(p: Plan, other: Plan | None = None, weights: str = "w") -> list[landscape_panels.Panel]:
    mine = of(p, weights)
    by = mine if other is None else of(other, "v")
    return landscape_panels.load(loss_landscape.ensure(p, mine, other or p, by, "the command"))


# --- the plane and the surface --------------------------------------------------------------------


def test_a_linear_network_s_surface_is_known() -> None:
    model, x, y = linear(), image(), torch.tensor(2)
    weight, bias = (each.numpy().astype(float) for each in model[1].parameters())
    ticks = torch.linspace(-0.5, 0.5, 5, dtype=torch.float64)
    g = loss_landscape.gradient(model, x, y, [0])
    logits = weight @ x.numpy().ravel() + bias
    p = np.exp(logits - logsumexp(logits))
    np.testing.assert_allclose(g.numpy().ravel(), weight.T @ (p - np.eye(4)[2]), atol=1e-6)
    directions = loss_landscape.plane(g, torch.randn(g.shape, generator=generator()))
    found = loss_landscape.surface(model, x, directions, ticks, 4, SEED)
    loss, margin = loss_landscape.judged(found, y)
    across, up = (weight @ each.numpy().ravel() for each in directions)
    for j, b in enumerate(ticks.tolist()):
        for i, a in enumerate(ticks.tolist()):
            at = logits + a * across + b * up
            assert float(loss[j, i]) == pytest.approx(logsumexp(at) - at[2], abs=1e-5)
            assert float(margin[j, i]) == pytest.approx(at[2] - np.delete(at, 2).max(), abs=1e-5)
    assert np.all(np.diff(loss[2].numpy()) > 0)  # it rises along the gradient, being convex


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(0, 10_000), st.floats(1e-12, 1e6), st.booleans())
@settings(max_examples=25)
def test_the_directions_are_orthogonal_and_of_largest_entry_1(
    seed: int, size: float, sign: bool
) -> None:
    g, noise = torch.randn(2, 3, 8, 8, generator=generator(seed)) * torch.tensor([size, 1.0]).view(
        2, 1, 1, 1
    )
    first, second = loss_landscape.plane(g, noise, sign=sign).double()
    assert abs(float((first * second).sum())) < 1e-4
    assert float(first.abs().max()) == float(second.abs().max()) == 1
    wanted = g.sign() if sign else g / g.abs().max()
    torch.testing.assert_close(first.float(), wanted)


def test_a_gradient_without_direction_is_refused() -> None:
    for g in (torch.zeros(3, 8, 8), torch.full((3, 8, 8), torch.nan)):
        with pytest.raises(UsageError, match="vanishes or is not finite.*take another landscape"):
            loss_landscape.plane(g, torch.ones(3, 8, 8))


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, nn.Module]:
    p = laid(tmp_path_factory.mktemp("random"), "theta=0.7", "tucker.min_dim=1")
    return p, components.classifier(p, components.network(p))


def test_a_held_draw_is_one_draw(random: tuple[Plan, nn.Module]) -> None:
    """Every batch of the grid meets the same masks, which another seed does not."""
    _, model = random
    x, ticks = image(), torch.linspace(-0.5, 0.5, 5)
    directions = loss_landscape.plane(torch.randn(x.shape, generator=generator()), x)
    with sketching.record(model) as ledger:
        grid = loss_landscape.surface(model, x, directions, ticks, 7, SEED)
    plain = ledger.to_dict()
    assert all(len(draws) == 4 and draws.count(draws[0]) == 4 for draws in plain.values())
    with torch.no_grad(), sketching.frozen(model, seed=SEED):
        point = x + ticks[4] * directions[0] + ticks[1] * directions[1]
        torch.testing.assert_close(grid[1, 4], model(point[None])[0])
    torch.testing.assert_close(loss_landscape.surface(model, x, directions, ticks, 25, SEED), grid)
    other = loss_landscape.surface(model, x, directions, ticks, 25, SEED + 1)
    assert (other - grid).abs().max() > 1e-3


def test_gradients_of_several_draws_are_averaged(random: tuple[Plan, nn.Module]) -> None:
    _, model = random
    x, y = image(), torch.tensor(1)
    each = [loss_landscape.gradient(model, x, y, [seed]) for seed in (1, 2, 3)]
    torch.testing.assert_close(loss_landscape.gradient(model, x, y, [1, 2, 3]), sum(each) / 3)
    assert not torch.allclose(each[0], each[1])
    at = x.clone().requires_grad_()
    with sketching.frozen(model, seed=1):
        F.cross_entropy(model(at[None]), y[None]).backward()
    torch.testing.assert_close(each[0], at.grad)


# --- panels ---------------------------------------------------------------------------------------


def test_a_random_network_has_two_panels(tmp_path: Path) -> None:
    p = laid(tmp_path, "theta=0.7", "tucker.min_dim=1")
    draw, mean = made(p)
    assert [panel.version for panel in (draw, mean)] == ["draw", "mean"]
    x, y = loss_landscape.example(p)
    model = components.classifier(p, components.network(p))
    seeds = [sketching.stream(p.config.eval.seed, "landscape", k) for k in range(3)]
    losses = []
    for seed in seeds:
        with torch.no_grad(), sketching.frozen(model, seed=seed):
            losses.append(float(F.cross_entropy(model(x[None]), y[None])))
    assert draw.loss[draw.centre] == pytest.approx(losses[0], rel=1e-4)
    assert draw.spread.max() == 0
    assert mean.loss[mean.centre] == pytest.approx(np.mean(losses), rel=1e-4)
    assert mean.spread[mean.centre] == pytest.approx(np.std(losses, ddof=1), rel=1e-3)
    for panel, used in ((draw, seeds[:1]), (mean, seeds)):
        g = loss_landscape.gradient(model, x, y, used)
        np.testing.assert_allclose(panel.directions[0], g / g.abs().max(), atol=1e-4)
        np.testing.assert_array_equal(panel.image, x)
        assert panel.about.gradient_length == pytest.approx(float(g.norm()), rel=1e-4)
        assert sum(panel.about.predictions.values()) == len(used) == panel.about.draws
    about = draw.about
    assert about.plane == about.run_id == p.name
    assert (about.weights, about.trained_commit, about.command) == ("w", "c0ffee", "the command")
    assert (about.label, about.data_digest) == (str(int(y)), p.task.digest)


def test_a_fixed_plane_is_another_network_s(tmp_path: Path) -> None:
    p, full = laid(tmp_path, "theta=0.7"), laid(tmp_path, "theta=1")
    draw, mean = made(p, full)
    (own,) = made(full)
    for panel in (draw, mean):
        np.testing.assert_array_equal(panel.directions, own.directions)
        assert (panel.about.plane, panel.about.plane_weights) == (full.name, "v")
    assert own.version == ""
    assert draw.about.protocol != made(p)[0].about.protocol


def test_the_control_without_a_sketch_has_one_panel(tmp_path: Path) -> None:
    """The same weights at theta = 1."""
    p = laid(tmp_path, "theta=0.7", "tucker.min_dim=1", "eval.sketch=false", "eval.epsilon=[8]")
    (panel,) = made(p)
    assert panel.version == ""
    x, y = loss_landscape.example(p)
    model = components.classifier(p, components.network(p))
    with torch.no_grad(), sketching.disabled(model):
        expected = float(F.cross_entropy(model(x[None]), y[None]))
    assert panel.loss[panel.centre] == pytest.approx(expected, rel=1e-4)


def test_what_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    p = laid(tmp_path, "theta=1")
    (path,) = {loss_landscape.ensure(p, of(p), p, of(p), "the command") for _ in range(2)}
    before = path.read_bytes()
    monkeypatch.setattr(loss_landscape, "surface", lambda *_: pytest.fail("made again"))
    assert made(p)[0].about.command == "the command" and path.read_bytes() == before
    monkeypatch.undo()
    assert made(p, weights="retrained")[0].about.weights == "retrained"
    assert list((tmp_path / "landscapes").glob("*.npz")) == [path]


@pytest.mark.parametrize(
    ("node", "key", "value"),
    [
        *(("landscape", "image", 3), ("landscape", "points", 7), ("landscape", "extent", 0.4)),
        *(("landscape", "draws", 4), ("landscape", "direction", "sign"), ("eval", "seed", 1)),
        *(
            ("eval", "batch_size", 8),
            ("eval", "sketch", False),
            ("model", "reference", 9),
            ("model", "batchnorm", "batch"),
        ),
    ],
)
def test_the_protocol_tells_surfaces_apart(node: str, key: str, value: Any, tmp_path: Path) -> None:
    config = configured(tmp_path)
    before = how(config)
    setattr(getattr(config, node), key, value)
    assert how(config) != before


def test_what_changes_no_surface_is_not_in_the_protocol(tmp_path: Path) -> None:
    others = ("landscape.circle=8", "eval.runs=1", "attack=[]", "theta=0.8", "seed=1")
    assert how(configured(tmp_path, *others)) == how(configured(tmp_path))


def how(config: Config) -> str:
    return loss_landscape.panel_config_hash(config, None)


def test_the_plane_s_configuration_is_found_inside_a_job_too() -> None:
    """Where Hydra runs already."""
    from hydra import initialize_config_dir

    from defensive_tensorization.config import CONFIGS

    words = [*SMALL, "method=ours_0.9", "landscape.directions=ours_1"]
    config = composed(words)
    outside = plane_of(config, words)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        assert plane_of(config, words) == outside
    assert outside is not None and outside.theta == 1 and outside.defence.conv is not None
    own = composed([*SMALL, "theta=0.9", "defence=tensorization", "landscape.directions=ours_1"])
    assert plane_of(own, [*SMALL, "theta=0.9", "defence=tensorization"]) == plane_of(config, SMALL)
    assert plane_of(replace(config, landscape=None), words) is None
    assert plane_of(small("theta=0.7"), words) is None


def test_what_has_no_such_image_is_refused(tmp_path: Path) -> None:
    p = laid(tmp_path, "landscape.image=12")
    with pytest.raises(
        UsageError, match="landscape.image must be below 12, the test set's size, got 12"
    ):
        loss_landscape.example(p)
    clips: Any = replace(p.task, train=replace(p.task.train, inputs=torch.zeros(16, 1, 9)))
    with pytest.raises(UsageError, match="dataset=fake holds clips: take one of images"):
        loss_landscape.example(replace(p, task=clips))


def test_a_configuration_trains_both_networks_and_leaves_panels(tmp_path: Path) -> None:
    """The entrypoint trains both networks and leaves the panels; a bad image is refused first."""
    words = [
        *("theta=0.8", "landscape=plane", "landscape.points=3", "landscape.draws=2", "attack=[]"),
        *("model.width=2", "train.epochs=1", "train.images=16", "eval.images=20", "eval.runs=1"),
        *(
            "train.batch_size=16",
            "model.reference=8",
            "dataset.cache=null",
            "logger=none",
            "device=cpu",
            f"paths.runs={tmp_path}",
        ),
    ]
    with pytest.raises(UsageError, match="landscape.image must be below 3"):
        run(composed([*words, "landscape.image=99999"]), "the command")
    assert not list(tmp_path.rglob("*.pt"))
    config = composed([*words, "landscape.directions=ours_1"])
    base = plane_of(config, words)
    run(config, "the command", base)
    (path,) = (tmp_path / "landscapes").glob("*.npz")
    draw, mean = landscape_panels.load(path)
    p = plan(config)
    with torch.no_grad():
        x, y = loss_landscape.example(p)
        model = components.classifier(p, trained(p).network)
        with sketching.frozen(model, seed=sketching.stream(0, "landscape", 0)):
            laid = x[None].contiguous(memory_format=torch.channels_last)  # as the panel's points
            assert draw.loss[1, 1] == pytest.approx(float(F.cross_entropy(model(laid), y[None])))
    assert draw.about.weights == mean.about.weights == trained(p).weights
    assert base is not None
    first = replace(p, config=base)
    full = trained(first)
    assert draw.about.plane_weights == full.weights != draw.about.weights
    g = loss_landscape.gradient(components.classifier(first, full.network), x, y, [0])
    np.testing.assert_allclose(draw.directions[0], g / g.abs().max(), atol=1e-5)
